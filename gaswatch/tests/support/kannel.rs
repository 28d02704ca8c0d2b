//! A real SMS gateway, and the phones behind it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::process::Process;
use super::{PATIENCE, eventually, free_ports, http_client, testdata};

const USER: &str = "gaswatch";
const PASSWORD: &str = "kannel-test";

/// Kannel's two processes on ports of their own, with every phone of its fake network in hand.
#[derive(Debug)]
pub(crate) struct Kannel {
    smsbox: Process,
    bearerbox: Process,
    send_port: u16,
    phones: BufReader<TcpStream>,
    /// What has come of the next line; it outlives a wait that was given up.
    line: Vec<u8>,
    /// Parts of texts that are not complete yet.
    parts: Vec<Part>,
    _folder: TempDir,
}

/// A text that has reached a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sms {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) text: String,
}

impl Kannel {
    pub(crate) async fn start() -> anyhow::Result<Kannel> {
        let [send_port] = free_ports()?;
        Kannel::start_sending_on(send_port).await
    }

    /// A gateway whose HTTP interface is on a port chosen before.
    pub(crate) async fn start_sending_on(send_port: u16) -> anyhow::Result<Kannel> {
        let folder = tempfile::tempdir()?;
        let [admin, boxes, phone_port] = free_ports()?;
        let mut config = std::fs::read_to_string(testdata("kannel.conf.in")).context("reading kannel.conf.in")?;
        for (name, value) in [
            ("@DIR@", folder.path().to_string_lossy().into_owned()),
            ("@ADMIN_PORT@", admin.to_string()),
            ("@BOX_PORT@", boxes.to_string()),
            ("@SEND_PORT@", send_port.to_string()),
            ("@PHONE_PORT@", phone_port.to_string()),
            ("@PASSWORD@", PASSWORD.to_owned()),
        ] {
            config = config.replace(name, &value);
        }
        let file = folder.path().join("kannel.conf");
        std::fs::write(&file, config)?;

        let mut bearerbox = start_box("/usr/sbin/bearerbox", &file, folder.path())?;
        listening(&mut bearerbox, boxes).await?;
        // the network comes up a moment after the port for smsbox
        let phones = listening(&mut bearerbox, phone_port).await?;
        let mut smsbox = start_box("/usr/sbin/smsbox", &file, folder.path())?;
        listening(&mut smsbox, send_port).await?;
        // until then Kannel would answer "queued" instead of sending
        let client = http_client()?;
        eventually("the phones to be connected", PATIENCE, async || {
            let page = client.get(format!("http://127.0.0.1:{admin}/status.txt?password=admin")).send().await;
            Ok(page?.text().await?.contains("online").then_some(()))
        })
        .await?;
        Ok(Kannel {
            smsbox,
            bearerbox,
            send_port,
            phones: BufReader::new(phones),
            line: Vec::new(),
            parts: Vec::new(),
            _folder: folder,
        })
    }

    /// The `[sms.kannel]` section that sends through this gateway.
    pub(crate) fn settings(&self) -> String {
        format!(
            "[sms.kannel]\nurl = \"{}\"\nusername = \"{USER}\"\npassword = \"{PASSWORD}\"\nfrom = \"10690000\"\n",
            self.send_url()
        )
    }

    pub(crate) fn send_url(&self) -> String {
        format!("http://127.0.0.1:{}/cgi-bin/sendsms", self.send_port)
    }

    /// The next text to any phone, or `None` when none comes in time. Kannel splits long ones; they are
    /// put together as a phone does it.
    pub(crate) async fn text(&mut self, within: Duration) -> anyhow::Result<Option<Sms>> {
        timeout(within, self.whole_text()).await.map_or(Ok(None), |text| text.map(Some))
    }

    async fn whole_text(&mut self) -> anyhow::Result<Sms> {
        loop {
            let read = self.phones.read_until(b'\n', &mut self.line).await?;
            ensure!(read > 0, "the network closed the connection\n{}", self.bearerbox.log_end());
            let line = String::from_utf8(std::mem::take(&mut self.line))?;
            let part = Part::read(line.trim_end_matches(['\r', '\n']))?;
            let (total, whole) = (part.total, (part.to.clone(), part.message));
            self.parts.push(part);
            let is_of_it = |part: &Part| (part.to.clone(), part.message) == whole;
            if self.parts.iter().filter(|part| is_of_it(part)).count() < total {
                continue;
            }
            let (mut all, rest): (Vec<Part>, Vec<Part>) = self.parts.drain(..).partition(is_of_it);
            self.parts = rest;
            all.sort_by_key(|part| part.number);
            let bytes: Vec<u8> = all.iter().flat_map(|part| part.text.clone()).collect();
            let from = all.swap_remove(0).from;
            return Ok(Sms { from, to: whole.0, text: utf16(&bytes)? });
        }
    }

    /// Stops both processes; Kannel needs to be told twice when something is still queued.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for process in [&mut self.smsbox, &mut self.bearerbox] {
            process.signal("TERM").await?;
            if process.ended(Duration::from_secs(5)).await.is_err() {
                process.signal("TERM").await?;
                process.ended(PATIENCE).await?;
            }
        }
        Ok(())
    }
}

fn start_box(program: &str, config: &Path, folder: &Path) -> anyhow::Result<Process> {
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    Process::start(Command::new(program).args(["-v", "1"]).arg(config), &folder.join(format!("{name}.out")))
}

async fn listening(process: &mut Process, port: u16) -> anyhow::Result<TcpStream> {
    eventually(&format!("port {port}"), PATIENCE, async || {
        process.check_running()?;
        Ok(Some(TcpStream::connect(("127.0.0.1", port)).await?))
    })
    .await
}

/// One SMS as the network says it, the text in UTF-16BE.
#[derive(Clone, Debug)]
struct Part {
    from: String,
    to: String,
    /// Which message it belongs to; `None` when it is the whole of one.
    message: Option<u8>,
    number: u8,
    total: usize,
    text: Vec<u8>,
}

impl Part {
    /// Reads `from to text words`, `from to ucs-2 coded` or `from to udh coded-header data coded`,
    /// where coded means percent-encoded, and text of more than one part is taken to be UTF-16BE.
    fn read(line: &str) -> anyhow::Result<Part> {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let [from, to, kind, body] = words[..] else { bail!("the network said {line:?}") };
        let mut part =
            Part { from: from.to_owned(), to: to.to_owned(), message: None, number: 1, total: 1, text: Vec::new() };
        match kind {
            "text" => part.text = body.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            "ucs-2" => part.text = percent_decoded(body)?,
            "udh" => {
                let (header, text) = body.split_once(" data ").context("a part without text")?;
                // 3GPP TS 23.040: length 5, element 0 (concatenation) of 3 bytes: message, total, number
                let header = percent_decoded(header)?;
                let [5, 0, 3, message, total, number] = header[..] else { bail!("the network said {line:?}") };
                part =
                    Part { message: Some(message), number, total: total.into(), text: percent_decoded(text)?, ..part };
            }
            _ => bail!("the network said {line:?}"),
        }
        Ok(part)
    }
}

fn utf16(bytes: &[u8]) -> anyhow::Result<String> {
    ensure!(bytes.len().is_multiple_of(2), "half a UTF-16 unit in {bytes:?}");
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    Ok(String::from_utf16(&units)?)
}

fn percent_decoded(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| (digit as char).to_digit(16)));
                let [Some(high), Some(low)] = digits else { bail!("a % without two hex digits in {text:?}") };
                (high * 16 + low) as u8
            }
            plain => plain,
        });
    }
    Ok(bytes)
}
