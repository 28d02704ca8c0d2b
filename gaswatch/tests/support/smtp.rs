//! A real SMTP server with STARTTLS, sign-in and a Maildir.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
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
        let (certificate, key) = certificate(folder.path()).await?;

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
            self.folder.path().join("ca.pem").display()
        )
    }

    /// Waits for a message to `address` and returns it. The server must have taken it over TLS from a
    /// client that signed in.
    pub(crate) async fn mail_to(&mut self, address: &str) -> anyhow::Result<Mail> {
        let found = eventually(&format!("mail to {address}"), PATIENCE, async || {
            self.process.check_running()?;
            let log = self.process.log();
            // a line that is still being written has no end
            let whole = log.split_inclusive('\n').filter(|line| line.starts_with('{') && line.ends_with('\n'));
            let mails: Vec<Mail> = whole.map(serde_json::from_str).collect::<Result<_, _>>()?;
            Ok(mails.into_iter().find(|mail| mail.to.iter().any(|to| to == address)))
        })
        .await;
        let mail = found.with_context(|| self.process.log_end())?;
        ensure!(mail.tls && mail.signed_in, "mail in the open: {mail:?}");
        Ok(mail)
    }
}

/// A message as the server kept it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mail {
    tls: bool,
    signed_in: bool,
    to: Vec<String>,
    pub(crate) subject: String,
    /// Plain text, then HTML, as far as there are any.
    pub(crate) texts: Vec<String>,
}

/// Makes a certificate authority in `ca.pem` and a server certificate signed by it; returns the latter
/// and its key.
async fn certificate(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let file = |name: &str| folder.join(name);
    let new_key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    let mut authority = Command::new("openssl");
    authority.args(new_key).args(["-subj", "/CN=Gaswatch test authority"]);
    authority.arg("-keyout").arg(file("ca.key")).arg("-out").arg(file("ca.pem"));
    output(&mut authority).await?;
    let mut server = Command::new("openssl");
    server.args(new_key).args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    server.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    server.arg("-CA").arg(file("ca.pem")).arg("-CAkey").arg(file("ca.key"));
    server.arg("-keyout").arg(file("server.key")).arg("-out").arg(file("server.pem"));
    output(&mut server).await?;
    Ok((file("server.pem"), file("server.key")))
}
