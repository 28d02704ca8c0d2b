//! Mosquitto's publisher: somebody else's MQTT client.

use std::process::Stdio;

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::process::missing;

#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl Published {
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }
}

/// Who publishes, where.
#[derive(Clone, Debug)]
pub(crate) struct Publisher<'p> {
    pub(crate) port: u16,
    /// `mqttv311` or `mqttv5`.
    pub(crate) version: &'p str,
    pub(crate) id: &'p str,
    pub(crate) secret: &'p str,
}

impl Publisher<'_> {
    /// Publishes each line as one message with QoS 1 to the topic; ends when all are acknowledged.
    pub(crate) async fn publish_lines(&self, topic: &str, lines: &str) -> anyhow::Result<Published> {
        const PROGRAM: &str = "mosquitto_pub";
        let mut child = Command::new(PROGRAM)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-V", self.version])
            .args(["-i", self.id, "-u", self.id, "-P", self.secret, "-q", "1", "-t", topic, "-l"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| missing(PROGRAM))?;
        let mut input = child.stdin.take().context("standard input of mosquitto_pub")?;
        // a refused client closes its input before all is written; its exit code tells
        let _ = input.write_all(lines.as_bytes()).await;
        drop(input);
        let output = child.wait_with_output().await?;
        Ok(Published { code: output.status.code(), stderr: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}
