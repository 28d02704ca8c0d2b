//! A real SMTP server with STARTTLS, sign-in and a Maildir.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tokio::process::Command;

use super::process::{Process, output};
use super::{PATIENCE, eventually, free_ports, testdata};

const USER: &str = "gaswatch";
const PASSWORD: &str = "smtp-test";

#[derive(Debug)]
pub(crate) struct Smtp {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Smtp {
    pub(crate) async fn start() -> anyhow::Result<Smtp> {
        let folder = tempfile::tempdir()?;
        let [port] = free_ports()?;
        let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-subj", "/CN=Gaswatch test", "-addext"]);
        openssl.arg("subjectAltName=DNS:localhost,IP:127.0.0.1").arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        output(&mut openssl).await?;

        let python = std::env::var_os("GASWATCH_TEST_PYTHON").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        command.arg(testdata("smtpd.py")).arg(port.to_string()).arg(folder.path().join("mail"));
        command.arg(certificate).arg(key).args([USER, PASSWORD]);
        let mut process = Process::start(&mut command, &folder.path().join("smtpd.log"))?;
        eventually("the SMTP server", PATIENCE, async || {
            process.check_running().context("`cargo xtask test` installs the Python package aiosmtpd")?;
            Ok(process.log().lines().any(|line| line == "ready").then_some(()))
        })
        .await?;
        Ok(Smtp { process, port, folder })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The `[email]` section that sends through this server.
    pub(crate) fn settings(&self) -> String {
        format!(
            "[email]\nurl = \"smtp://{USER}:{PASSWORD}@localhost:{}?tls=required\"\n\
             from = \"Gaswatch <gaswatch@example.org>\"\nca_file = \"{}\"\n",
            self.port,
            self.folder.path().join("certificate.pem").display()
        )
    }

    /// Waits for a message to `address` whose text contains `words`, and returns the text. The server
    /// must have taken it over TLS from a client that signed in.
    pub(crate) async fn mail_to(&mut self, address: &str, words: &str) -> anyhow::Result<String> {
        let wanted = format!("mail to {address} with {words:?}");
        let inbox = self.folder.path().join("mail/new");
        let text = eventually(&wanted, PATIENCE, async || {
            self.process.check_running()?;
            for path in files(&inbox)? {
                let message = std::fs::read_to_string(&path)?;
                let text = readable(&message).with_context(|| format!("reading {message}"))?;
                if header(&message, "To").contains(address) && text.contains(words) {
                    return Ok(Some(text));
                }
            }
            Ok(None)
        });
        let text = text.await?;
        let log = self.process.log();
        let taken: Vec<serde_json::Value> =
            log.lines().filter(|line| line.starts_with('{')).map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(!taken.is_empty(), "the server kept mail without saying so:\n{log}");
        ensure!(taken.iter().all(|mail| mail["tls"] == true && mail["signed_in"] == true), "mail in the open:\n{log}");
        Ok(text)
    }
}

fn files(folder: &PathBuf) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn split(message: &str) -> (&str, &str) {
    message.split_once("\r\n\r\n").or_else(|| message.split_once("\n\n")).unwrap_or((message, ""))
}

/// A header's value, continuation lines included.
fn header(message: &str, name: &str) -> String {
    let mut value = String::new();
    let mut is_wanted = false;
    for line in split(message).0.lines() {
        if line.starts_with([' ', '\t']) {
            if is_wanted {
                value.push_str(line);
            }
            continue;
        }
        let (found, rest) = line.split_once(':').unwrap_or((line, ""));
        is_wanted = found.eq_ignore_ascii_case(name);
        if is_wanted {
            value.push_str(rest.trim());
        }
    }
    value
}

/// The text of a message of one part, decoded.
fn readable(message: &str) -> anyhow::Result<String> {
    let body = split(message).1;
    Ok(match header(message, "Content-Transfer-Encoding").to_ascii_lowercase().as_str() {
        "base64" => {
            let packed: String = body.split_whitespace().collect();
            String::from_utf8(STANDARD.decode(packed)?)?
        }
        "quoted-printable" => quoted_printable(body)?,
        _ => body.to_owned(),
    })
}

fn quoted_printable(body: &str) -> anyhow::Result<String> {
    let joined = body.replace("=\r\n", "").replace("=\n", "");
    let mut bytes = Vec::with_capacity(joined.len());
    let mut rest = joined.as_str();
    while let Some(at) = rest.find('=') {
        bytes.extend(rest[..at].bytes());
        let digits = rest.get(at + 1..at + 3).context("an = without two hex digits")?;
        bytes.push(u8::from_str_radix(digits, 16)?);
        rest = &rest[at + 3..];
    }
    bytes.extend(rest.bytes());
    Ok(String::from_utf8(bytes)?)
}
