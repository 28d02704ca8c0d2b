//! Text messages through Kannel's `sendsms`.

use reqwest::{StatusCode, Url};

use super::{KannelSettings, Outcome, Outgoing, causes, words};
use crate::AlertError;
use crate::message;

/// A text that could not be delivered for so long is dropped by the network: by then a newer one is
/// on its way, and a stale alarm sends people to the wrong hour. Minutes.
const VALIDITY: &str = "15";
/// Ask for every report: delivered, failed, buffered, accepted, rejected.
const ALL_REPORTS: &str = "31";
const MOST_ANSWER: usize = 4_096;

pub(super) struct Kannel {
    client: reqwest::Client,
    url: Url,
    settings: KannelSettings,
}

impl Kannel {
    pub(super) fn new(settings: KannelSettings) -> Result<Kannel, AlertError> {
        let url = Url::parse(&settings.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| AlertError::Invalid("the SMS gateway's URL is not an http(s) address".to_owned()))?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // an error means that somebody else was faster, which is as good
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| AlertError::Invalid(causes(&error.without_url())))?;
        Ok(Kannel { client, url, settings })
    }

    pub(super) async fn send(&self, message: &Outgoing) -> Outcome {
        let answer = async {
            let mut response = self.client.get(self.url.clone()).query(&self.query(message)).send().await?;
            let mut body = Vec::new();
            while let Some(part) = response.chunk().await? {
                body.extend_from_slice(&part);
                if body.len() > MOST_ANSWER {
                    break;
                }
            }
            Ok::<_, reqwest::Error>((response.status(), body))
        };
        match answer.await {
            Ok((status, body)) => classify(status, &String::from_utf8_lossy(&body)),
            // the URL holds the password
            Err(error) => Outcome::Retry(causes(&error.without_url())),
        }
    }

    fn query(&self, message: &Outgoing) -> Vec<(&'static str, String)> {
        let coding = if message::septets(&message.text).is_some() { "0" } else { "2" };
        let mut query = vec![
            ("username", self.settings.username.clone()),
            ("password", self.settings.password.clone()),
            ("from", self.settings.from.clone()),
            ("to", message.address.clone()),
            ("charset", "UTF-8".to_owned()),
            ("coding", coding.to_owned()),
            ("text", message.text.clone()),
            ("validity", VALIDITY.to_owned()),
        ];
        if let Some(report_url) = &self.settings.report_url {
            query.push(("dlr-mask", ALL_REPORTS.to_owned()));
            query.push(("dlr-url", format!("{report_url}?id={}&type=%d", message.id)));
        }
        query
    }
}

/// "Accepted" is sent, "queued" is not, and what a gateway refuses it will refuse again.
fn classify(status: StatusCode, body: &str) -> Outcome {
    let said = || words(&format!("{} {body}", status.as_u16()));
    let begins =
        |code: &str| body.trim_start().strip_prefix(code).is_some_and(|rest| !rest.starts_with(char::is_numeric));
    match status.as_u16() {
        200..=299 if begins("0") => Outcome::Sent,
        200..=299 if begins("3") => Outcome::Queued(said()),
        408 | 425 | 429 => Outcome::Retry(said()),
        400..=499 => Outcome::Refused(said()),
        _ => Outcome::Retry(said()),
    }
}

#[cfg(test)]
mod tests {
    use model::Stamp;

    use super::*;
    use crate::outbox::Channel;

    #[test]
    fn answers_mean_what_kannel_means() {
        let classified = |status, body| classify(StatusCode::from_u16(status).unwrap(), body);
        assert_eq!(classified(202, "0: Accepted for delivery"), Outcome::Sent);
        assert_eq!(classified(200, "0: Accepted for delivery"), Outcome::Sent);
        assert!(matches!(classified(202, "3: Queued for later delivery"), Outcome::Queued(_)));
        for (status, body) in [
            (202, ""),
            (202, "30: ?"),
            (200, "<html>welcome</html>"),
            (302, ""),
            (429, "slow down"),
            (500, ""),
            (503, "Temporal failure, try again later."),
        ] {
            assert!(matches!(classified(status, body), Outcome::Retry(_)), "{status} {body}");
        }
        for (status, body) in [(403, "Authorization failed for sendsms"), (400, "Missing receiver"), (404, "")] {
            assert!(matches!(classified(status, body), Outcome::Refused(_)), "{status} {body}");
        }
        assert_eq!(classified(403, "No\r\nway"), Outcome::Refused("403 No  way".to_owned()));
    }

    #[tokio::test]
    async fn errors_do_not_tell_the_password() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cgi-bin/sendsms", listener.local_addr().unwrap());
        drop(listener);
        let kannel = Kannel::new(KannelSettings {
            url,
            username: "gas".to_owned(),
            password: "s3cret-word".to_owned(),
            from: "10690000".to_owned(),
            report_url: None,
        })
        .unwrap();
        let message = Outgoing {
            id: 1,
            incident: 1,
            channel: Channel::Sms,
            address: "13800000001".to_owned(),
            subject: String::new(),
            text: "x".to_owned(),
            decided: Stamp(0),
        };
        let Outcome::Retry(words) = kannel.send(&message).await else { panic!("nobody listens there") };
        assert!(!words.contains("s3cret-word") && !words.contains("sendsms") && !words.is_empty(), "{words}");
    }

    #[test]
    fn a_url_that_is_none_is_refused() {
        let settings = |url: &str| KannelSettings {
            url: url.to_owned(),
            username: String::new(),
            password: String::new(),
            from: String::new(),
            report_url: None,
        };
        assert!(Kannel::new(settings("ftp://x/y")).is_err());
        assert!(Kannel::new(settings("sendsms")).is_err());
    }
}
