//! A real browser, driven over the WebDriver protocol.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::process::Process;
use super::{PATIENCE, eventually, free_ports, http_client};

/// The key under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A window of headless Chromium.
#[derive(Debug)]
pub(crate) struct Browser {
    client: reqwest::Client,
    session: String,
    driver: Process,
    /// The driver leads a process group which its browser belongs to.
    group: u32,
    _folder: TempDir,
}

/// An element of the page as it was when it was found.
#[derive(Clone, Debug)]
pub(crate) struct Element(String);

impl Browser {
    pub(crate) async fn start() -> anyhow::Result<Browser> {
        Browser::start_with(&[]).await
    }

    /// With further arguments for Chromium.
    pub(crate) async fn start_with(further: &[&str]) -> anyhow::Result<Browser> {
        let folder = tempfile::tempdir()?;
        let [port] = free_ports()?;
        let mut command = Command::new("chromedriver");
        // the browser keeps everything it writes in the folder
        command.arg(format!("--port={port}")).env("HOME", folder.path()).process_group(0);
        let mut driver = Process::start(&mut command, &folder.path().join("chromedriver.log"))?;
        let group = driver.id()?;
        let client = http_client()?;
        let base = format!("http://127.0.0.1:{port}");
        eventually("chromedriver", PATIENCE, async || {
            driver.check_running()?;
            let status: Value = client.get(format!("{base}/status")).send().await?.json().await?;
            Ok((status["value"]["ready"] == true).then_some(()))
        })
        .await?;
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1400,1000",
            "--lang=zh-CN",
            "--accept-lang=zh-CN",
            &profile,
        ];
        let arguments: Vec<&str> = arguments.iter().chain(further).copied().collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Browser { client, session: base, driver, group, _folder: folder };
        let started = browser.post("/session", &wanted).await.with_context(|| browser.driver.log_end())?;
        let id = started["sessionId"].as_str().context("a session without id")?.to_owned();
        browser.session = format!("{}/session/{id}", browser.session);
        Ok(browser)
    }

    /// The process group of driver and browser.
    pub(crate) fn group(&self) -> u32 {
        self.group
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        value(self.client.post(format!("{}{path}", self.session)).json(body).send().await?).await
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        value(self.client.get(format!("{}{path}", self.session)).send().await?).await
    }

    pub(crate) async fn go(&self, url: &str) -> anyhow::Result<()> {
        self.post("/url", &json!({"url": url})).await.map(drop).with_context(|| format!("going to {url}"))
    }

    /// The first element that a CSS selector matches now.
    pub(crate) async fn find(&self, css: &str) -> anyhow::Result<Option<Element>> {
        let found = self.post("/elements", &json!({"using": "css selector", "value": css})).await?;
        Ok(found[0][ELEMENT].as_str().map(|id| Element(id.to_owned())))
    }

    /// Waits for an element that can be seen.
    pub(crate) async fn wait(&self, css: &str, within: Duration) -> anyhow::Result<Element> {
        let waited = eventually(&format!("{css} on the page"), within, async || {
            let Some(element) = self.find(css).await? else { return Ok(None) };
            let is_shown = self.get(&format!("/element/{}/displayed", element.0)).await?;
            Ok((is_shown == true).then_some(element))
        })
        .await;
        match waited {
            Ok(element) => Ok(element),
            Err(error) => Err(error.context(self.page().await)),
        }
    }

    /// Waits until nothing visible matches.
    pub(crate) async fn wait_gone(&self, css: &str, within: Duration) -> anyhow::Result<()> {
        eventually(&format!("{css} to go from the page"), within, async || {
            let Some(element) = self.find(css).await? else { return Ok(Some(())) };
            let is_shown = self.get(&format!("/element/{}/displayed", element.0)).await?;
            Ok((is_shown == false).then_some(()))
        })
        .await
    }

    pub(crate) async fn text(&self, element: &Element) -> anyhow::Result<String> {
        let text = self.get(&format!("/element/{}/text", element.0)).await?;
        Ok(text.as_str().context("an element's text")?.to_owned())
    }

    pub(crate) async fn click(&self, element: &Element) -> anyhow::Result<()> {
        self.post(&format!("/element/{}/click", element.0), &json!({})).await.map(drop)
    }

    pub(crate) async fn type_into(&self, element: &Element, text: &str) -> anyhow::Result<()> {
        self.post(&format!("/element/{}/value", element.0), &json!({"text": text})).await.map(drop)
    }

    /// Runs a script's function body in the page and returns what it returns.
    pub(crate) async fn script(&self, body: &str) -> anyhow::Result<Value> {
        self.post("/execute/sync", &json!({"script": body, "args": []})).await
    }

    /// What the page's console has said at level SEVERE since the last call: script errors, blocked and
    /// failed requests.
    pub(crate) async fn complaints(&self) -> anyhow::Result<Vec<String>> {
        let entries = self.post("/se/log", &json!({"type": "browser"})).await?;
        let entries = entries.as_array().context("a browser log")?;
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        Ok(severe.map(|entry| entry["message"].to_string()).collect())
    }

    /// Address and visible text of the page, for a failure's words.
    async fn page(&self) -> String {
        let shown = self.script("return location.href + '\\n' + document.body.innerText").await;
        shown.map_or_else(
            |error| format!("the page cannot be read: {error:#}"),
            |shown| format!("-- the page --\n{}", shown.as_str().unwrap_or_default()),
        )
    }

    pub(crate) async fn close(mut self) -> anyhow::Result<()> {
        value(self.client.delete(&self.session).send().await?).await?;
        self.driver.kill().await
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // whatever of the browser is left; after close there is nothing
        // (the plain sh of Debian cannot signal groups)
        let _ = std::process::Command::new("bash")
            .args(["-c", &format!("kill -KILL -- -{} 2>/dev/null", self.group)])
            .status();
    }
}

/// The value of a WebDriver answer, or its error.
async fn value(answer: reqwest::Response) -> anyhow::Result<Value> {
    let status = answer.status();
    let mut body: Value = answer.json().await?;
    let value = body["value"].take();
    if value["error"].is_string() {
        bail!("{}: {}", value["error"], value["message"]);
    }
    ensure!(status.is_success(), "chromedriver says {status}: {value}");
    Ok(value)
}
