//! Mail by SMTP, or into a folder.

use std::time::{Duration, UNIX_EPOCH};

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncFileTransport, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use reqwest::Url;

use super::{EmailSettings, Outcome, Outgoing, TIMEOUT, causes};
use crate::AlertError;

pub(super) struct Mailer {
    from: Mailbox,
    transport: Transport,
}

enum Transport {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Folder(AsyncFileTransport<Tokio1Executor>),
}

fn invalid(text: impl Into<String>) -> AlertError {
    AlertError::Invalid(text.into())
}

impl Mailer {
    pub(super) fn new(settings: &EmailSettings) -> Result<Mailer, AlertError> {
        let from = settings.from.parse().map_err(|_| invalid("the sender of mails is not a mail address"))?;
        let transport = match settings.url.strip_prefix("file:") {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| invalid(format!("mail folder {folder}: {error}")))?;
                Transport::Folder(AsyncFileTransport::new(folder))
            }
            None => Transport::Smtp(smtp(settings)?),
        };
        Ok(Mailer { from, transport })
    }

    pub(super) async fn send(&self, message: &Outgoing) -> Outcome {
        let mail = match self.compose(message) {
            Ok(mail) => mail,
            Err(words) => return Outcome::Refused(words),
        };
        match &self.transport {
            Transport::Smtp(smtp) => match smtp.send(mail).await {
                Ok(_) => Outcome::Sent,
                Err(error) if error.is_permanent() => Outcome::Refused(causes(&error)),
                Err(error) => Outcome::Retry(causes(&error)),
            },
            Transport::Folder(folder) => match folder.send(mail).await {
                Ok(_) => Outcome::Sent,
                Err(error) => Outcome::Retry(causes(&error)),
            },
        }
    }

    /// Plain text and HTML; all mails of an incident make one thread.
    fn compose(&self, message: &Outgoing) -> Result<Message, String> {
        let to = message.address.parse::<Mailbox>().map_err(|_| "this is not a mail address".to_owned())?;
        let domain = self.from.email.domain();
        let thread = format!("<incident-{}@{domain}>", message.incident);
        let decided = UNIX_EPOCH + Duration::from_millis(u64::try_from(message.decided.0).unwrap_or(0));
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .date(decided)
            .message_id(Some(format!("<notification-{}@{domain}>", message.id)))
            .in_reply_to(thread.clone())
            .references(thread)
            .subject(message.subject.clone())
            .multipart(MultiPart::alternative_plain_html(message.text.clone(), html(&message.text)))
            .map_err(|error| causes(&error))
    }
}

/// `smtp://` speaks TLS after STARTTLS or not at all, except to this machine; `smtps://` from the
/// start.
fn smtp(settings: &EmailSettings) -> Result<AsyncSmtpTransport<Tokio1Executor>, AlertError> {
    let url = Url::parse(&settings.url).map_err(|_| invalid("the mail server's URL cannot be understood"))?;
    let host = url.host_str().ok_or_else(|| invalid("the mail server's URL names no host"))?;
    let wish = url.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let (tls, port) = match (url.scheme(), wish.as_deref()) {
        ("smtps", _) => (Tls::Wrapper(tls(host, settings)?), 465),
        ("smtp", Some("none") | None) if is_local => (Tls::None, 25),
        ("smtp", Some("none")) => return Err(invalid("mail to another machine needs TLS")),
        ("smtp", Some("required") | None) => (Tls::Required(tls(host, settings)?), 587),
        _ => return Err(invalid("the mail server's URL is none of smtp://, smtps:// and file:")),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.trim_matches(['[', ']']))
        .port(url.port().unwrap_or(port))
        .tls(tls)
        .timeout(Some(TIMEOUT));
    if let Some(password) = url.password() {
        builder = builder.credentials(Credentials::new(unescaped(url.username())?, unescaped(password)?));
    }
    Ok(builder.build())
}

fn tls(host: &str, settings: &EmailSettings) -> Result<TlsParameters, AlertError> {
    let mut parameters = TlsParameters::builder(host.trim_matches(['[', ']']).to_owned());
    if let Some(path) = &settings.ca_file {
        let pem = std::fs::read(path).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
        let certificate =
            Certificate::from_pem(&pem).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
        parameters = parameters.add_root_certificate(certificate);
    }
    parameters.build().map_err(|error| invalid(causes(&error)))
}

/// Undoes the URL's %XX.
fn unescaped(text: &str) -> Result<String, AlertError> {
    let malformed = || invalid("the mail server's user name or password is not properly escaped");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(malformed)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| malformed())?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

/// A paragraph for each line; the first is the headline, an address becomes a link.
fn html(text: &str) -> String {
    let mut html = String::from("<!DOCTYPE html><html><head><meta charset=\"utf-8\"></head><body>");
    for (number, line) in text.lines().enumerate() {
        let line = escaped(line);
        if number == 0 {
            html.push_str(&format!("<h2>{line}</h2>"));
        } else if line.starts_with("http://") || line.starts_with("https://") {
            html.push_str(&format!("<p><a href=\"{line}\">{line}</a></p>"));
        } else {
            html.push_str(&format!("<p>{line}</p>"));
        }
    }
    html.push_str("</body></html>");
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use model::Stamp;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    use super::*;
    use crate::outbox::Channel;

    fn settings(url: &str) -> EmailSettings {
        EmailSettings { url: url.to_owned(), from: "Gaswatch <gaswatch@example.org>".to_owned(), ca_file: None }
    }

    #[tokio::test]
    async fn urls_ask_for_tls_unless_the_server_is_here() {
        for good in [
            "smtp://127.0.0.1:25",
            "smtp://localhost",
            "smtp://user:p%40ss@mail.example.org:587?tls=required",
            "smtp://mail.example.org",
            "smtps://user:x@mail.example.org",
        ] {
            assert!(Mailer::new(&settings(good)).is_ok(), "{good}");
        }
        for bad in ["smtp://mail.example.org?tls=none", "http://mail.example.org", "smtp://u:%zz@localhost", "mail"] {
            assert!(Mailer::new(&settings(bad)).is_err(), "{bad}");
        }
        assert!(Mailer::new(&EmailSettings { from: "nobody".to_owned(), ..settings("smtp://localhost") }).is_err());
    }

    #[test]
    fn escapes_are_undone_and_html_is_escaped() {
        assert_eq!(unescaped("p%40ss%E7%9F%B3").unwrap(), "p@ss石");
        assert!(unescaped("100%").is_err());
        let page = html("<b>\n\"a\" & b\nhttps://x/a/T-1");
        assert!(page.contains("<h2>&lt;b&gt;</h2><p>&quot;a&quot; &amp; b</p>"));
        assert!(page.contains("<a href=\"https://x/a/T-1\">https://x/a/T-1</a>"));
    }

    /// Answers one connection; recipients that begin with `bounce` are refused for good, with
    /// `busy` for now. Returns what was said as DATA.
    async fn serve(listener: tokio::net::TcpListener) -> String {
        let (socket, _) = listener.accept().await.unwrap();
        let (read, mut write) = socket.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut data = String::new();
        write.write_all(b"220 here\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            let answer: &[u8] = match line.to_ascii_lowercase() {
                line if line.starts_with("rcpt to:<bounce") => b"550 5.1.1 no such user\r\n",
                line if line.starts_with("rcpt to:<busy") => b"451 4.3.0 try later\r\n",
                line if line == "data" => {
                    write.write_all(b"354 go on\r\n").await.unwrap();
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line == "." {
                            break;
                        }
                        data.push_str(&line);
                        data.push('\n');
                    }
                    b"250 taken\r\n"
                }
                line if line == "quit" => b"221 bye\r\n",
                _ => b"250 fine\r\n",
            };
            write.write_all(answer).await.unwrap();
            if answer.starts_with(b"221") || !data.is_empty() {
                break;
            }
        }
        data
    }

    async fn sent_to(address: &str) -> (Outcome, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener));
        let mailer = Mailer::new(&settings(&url)).unwrap();
        let message = Outgoing {
            id: 5,
            incident: 3,
            channel: Channel::Email,
            address: address.to_owned(),
            subject: "[DANGER] CO 412 ppm".to_owned(),
            text: "CO 412 ppm\nhttp://10.0.0.5/a/T".to_owned(),
            decided: Stamp(1_780_000_000_000),
        };
        let outcome = mailer.send(&message).await;
        // closes the pooled connection, which ends the server
        drop(mailer);
        (outcome, server.await.unwrap())
    }

    #[tokio::test]
    async fn a_mail_server_takes_refuses_or_puts_off() {
        let (outcome, data) = sent_to("chen@example.org").await;
        assert_eq!(outcome, Outcome::Sent);
        assert!(
            data.contains("Subject: [DANGER] CO 412 ppm") && data.contains("<notification-5@example.org>"),
            "{data}"
        );
        assert!(
            matches!(sent_to("bounce@example.org").await.0, Outcome::Refused(words) if words.contains("no such user"))
        );
        assert!(matches!(sent_to("busy@example.org").await.0, Outcome::Retry(words) if words.contains("try later")));
    }

    #[tokio::test]
    async fn what_is_no_address_is_refused_for_good() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mailer = Mailer::new(&settings(&format!("smtp://{}", listener.local_addr().unwrap()))).unwrap();
        let message = Outgoing {
            id: 5,
            incident: 3,
            channel: Channel::Email,
            address: "x@y\r\nBcc: z".to_owned(),
            subject: String::new(),
            text: String::new(),
            decided: Stamp(0),
        };
        assert!(matches!(mailer.send(&message).await, Outcome::Refused(_)));
    }
}
