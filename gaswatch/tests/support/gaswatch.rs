//! The binary under test, as an operator runs it: a configuration file, a district file, a process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use model::Stamp;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::process::{Process, output};
use super::{PATIENCE, eventually, free_ports, http_client};

/// The integration that every test's district has; it may read everything.
pub(crate) const ARCHIVE: &str = "archive";

/// An installation of Gaswatch in a folder of its own, on ports of its own.
#[derive(Debug)]
pub(crate) struct Gaswatch {
    folder: TempDir,
    pub(crate) mqtt: u16,
    pub(crate) http: u16,
    archive_secret: String,
    client: reqwest::Client,
    process: Option<Process>,
}

/// A reading as the API shows it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Reading {
    pub(crate) time: String,
    pub(crate) co_ppm: Option<f32>,
    pub(crate) temperature_c: Option<f32>,
    pub(crate) humidity_pct: Option<f32>,
    pub(crate) seq: Option<u64>,
}

impl Reading {
    pub(crate) fn at(&self) -> anyhow::Result<Stamp> {
        stamp(&self.time)
    }
}

pub(crate) fn stamp(text: &str) -> anyhow::Result<Stamp> {
    Stamp::parse_rfc3339(text).with_context(|| format!("{text:?} is no RFC 3339 time"))
}

impl Gaswatch {
    /// Writes the configuration, imports `district` (its integration is added) and starts the server.
    pub(crate) async fn start(settings: &str, district: &str) -> anyhow::Result<Gaswatch> {
        let mut gaswatch = Gaswatch::install(settings, district).await?;
        gaswatch.serve().await?;
        Ok(gaswatch)
    }

    /// All of [`Gaswatch::start`] but starting the server. `settings` are further sections of the
    /// configuration.
    pub(crate) async fn install(settings: &str, district: &str) -> anyhow::Result<Gaswatch> {
        let folder = tempfile::tempdir()?;
        let [mqtt, http] = free_ports()?;
        let config = format!(
            "data = \"data\"\n\
             [district]\nname = \"试验区 Test\"\ntime_zone = \"Asia/Shanghai\"\n\
             [mqtt]\nlisten = \"127.0.0.1:{mqtt}\"\n\
             [http]\nlisten = \"127.0.0.1:{http}\"\npublic_url = \"http://127.0.0.1:{http}\"\n\
             [rules]\nprofile = \"en50291\"\n\
             {settings}\n"
        );
        std::fs::write(folder.path().join("gaswatch.toml"), config)?;
        let archive = format!("\n[[integration]]\nid = \"{ARCHIVE}\"\nfilters = [\"gas/v1/#\"]\n");
        std::fs::write(folder.path().join("district.toml"), district.to_owned() + &archive)?;
        let mut gaswatch =
            Gaswatch { folder, mqtt, http, archive_secret: String::new(), client: http_client()?, process: None };
        gaswatch.command(&["import"], &["district.toml"]).await?;
        gaswatch.archive_secret = gaswatch.secret(ARCHIVE).await?;
        Ok(gaswatch)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("gaswatch.toml")
    }

    fn binary(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gaswatch"));
        command.current_dir(self.folder.path()).args(arguments).arg("--config").arg(self.config());
        command
    }

    /// Runs an operator's command and returns what it prints.
    async fn command(&self, verb: &[&str], arguments: &[&str]) -> anyhow::Result<String> {
        output(self.binary(verb).args(arguments)).await
    }

    /// What the device or integration `id` signs in with.
    pub(crate) async fn secret(&self, id: &str) -> anyhow::Result<String> {
        let printed = self.command(&["secret"], &[id]).await?;
        let secret = printed.trim();
        ensure!(!secret.is_empty(), "gaswatch secret {id} printed nothing");
        Ok(secret.to_owned())
    }

    /// Starts the server and waits until it is ready.
    pub(crate) async fn serve(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// Starts the server without waiting.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "the server is running already");
        let log = self.folder.path().join("gaswatch.log");
        self.process = Some(Process::start(&mut self.binary(&["serve"]), &log)?);
        Ok(())
    }

    /// Waits until the server says that it is ready.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let request = self.client.get(self.url("/readyz"));
        let process = self.running()?;
        let ready = eventually("readiness", 3 * PATIENCE, async || {
            process.check_running()?;
            let answer = request.try_clone().context("a request without body")?.send().await?;
            let status = answer.status();
            ensure!(status.is_success(), "/readyz says {status}: {}", answer.text().await?);
            Ok(Some(()))
        });
        let ready = ready.await;
        ready.with_context(|| process.log_end())
    }

    fn running(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("the server is not running")
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the server is not running")?;
        process.check_running()?;
        process.kill().await
    }

    pub(crate) async fn signal(&mut self, signal: &str) -> anyhow::Result<()> {
        self.running()?.signal(signal).await
    }

    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        self.running()?.check_running()
    }

    /// SIGTERM, after which the server must end by itself with success, and must never have panicked.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the server is not running")?;
        process.signal("TERM").await?;
        let status = process.ended(2 * PATIENCE).await?;
        ensure!(status.success(), "after SIGTERM the server ended with {status}\n{}", process.log_end());
        ensure!(!process.log().contains("panicked at"), "the server panicked\n{}", process.log_end());
        Ok(())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    /// Asks the API as the integration.
    pub(crate) async fn api(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = self.client.get(self.url(path)).query(query);
        let answer = request.basic_auth(ARCHIVE, Some(&self.archive_secret)).send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "GET {path} says {status}: {body}");
        serde_json::from_str(&body).with_context(|| format!("GET {path} says {body}"))
    }

    /// All readings of a sensor with `from <= time < to`, page by page.
    pub(crate) async fn readings(&self, sensor: &str, from: &str, to: &str) -> anyhow::Result<Vec<Reading>> {
        #[derive(Deserialize)]
        struct Page {
            readings: Vec<Reading>,
            next: Option<String>,
        }
        let (mut all, mut from) = (Vec::new(), from.to_owned());
        loop {
            let path = format!("/api/v1/sensors/{sensor}/readings");
            let page: Page = serde_json::from_value(self.api(&path, &[("from", &from), ("to", to)]).await?)?;
            all.extend(page.readings);
            match page.next {
                Some(next) if next == from => bail!("the page after {from} begins there again"),
                Some(next) => from = next,
                None => return Ok(all),
            }
        }
    }

    /// Incidents that are not resolved.
    pub(crate) async fn incidents(&self) -> anyhow::Result<Vec<Value>> {
        let mut answer = self.api("/api/v1/incidents", &[]).await?;
        let incidents = answer["incidents"].take();
        serde_json::from_value(incidents).context("incidents are a list")
    }

    /// Waits for the incident of a sensor.
    pub(crate) async fn incident_of(&self, sensor: &str) -> anyhow::Result<Value> {
        eventually(&format!("an incident of {sensor}"), PATIENCE, async || {
            Ok(self.incidents().await?.into_iter().find(|incident| incident["sensor"] == sensor))
        })
        .await
    }

    /// Waits until the readings of a sensor are as `wanted` says, and returns them.
    pub(crate) async fn readings_when(
        &self,
        sensor: &str,
        (from, to): (&str, &str),
        within: Duration,
        wanted: impl Fn(&[Reading]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Reading>> {
        eventually(&format!("the readings of {sensor}"), within, async || {
            let readings = self.readings(sensor, from, to).await?;
            wanted(&readings)?;
            Ok(Some(readings))
        })
        .await
    }
}

impl Drop for Gaswatch {
    #[expect(clippy::print_stderr, reason = "a test that ends without stopping the server has failed; this is why")]
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            eprintln!("{}", process.log_end());
        }
    }
}
