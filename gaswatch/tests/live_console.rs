//! The duty console in a real browser: it is live without a reload, and says so when it is not.
#![cfg(feature = "live")]

mod support;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use support::browser::Browser;
use support::gaswatch::Gaswatch;
use support::mqtt::{Mqtt, Version, is_success};
use support::{PATIENCE, eventually};

const ADDRESS: &str = "石井街潭村西街7号302";
const PASSWORD: &str = "correct horse battery staple";
/// The console must own up to a frozen display within 20 s; a few more for a slow machine.
const FREEZE_SHOWN_WITHIN: Duration = Duration::from_secs(25);
const BANNER: &str = "#banner:not([hidden])";

fn district() -> String {
    format!(
        r#"
        [[area]]
        id = "shijing"
        name_zh = "石井街"
        name_en = "Shijing"

        [[premises]]
        id = "P-302"
        area = "shijing"
        address = "{ADDRESS}"

        [[sensor]]
        id = "S-302"
        premises = "P-302"
        room = "浴室"
        interval_s = 60

        [[person]]
        id = "li"
        name = "李值班"
        phone = "13800000001"

        [[account]]
        login = "li"
        person = "li"
        role = "duty_officer"
        password = "{PASSWORD}"

        [[shift]]
        post = "duty_officer"
        person = "li"

        [[step]]
        level = "danger"
        after_s = 0
        posts = ["duty_officer"]
        "#
    )
}

async fn publish(gaswatch: &Gaswatch, payload: &str) -> anyhow::Result<()> {
    let secret = gaswatch.secret("S-302").await?;
    let mut sensor = Mqtt::connect(gaswatch.mqtt, Version::V5, "S-302", &secret).await?;
    let (reason, words) = sensor.publish("gas/v1/sensors/S-302/readings", payload).await?;
    ensure!(is_success(reason), "{reason:#x} {words:?}");
    Ok(())
}

async fn sign_in(browser: &Browser, gaswatch: &Gaswatch) -> anyhow::Result<()> {
    browser.go(&gaswatch.url("/")).await?;
    let login = browser.wait("#login", PATIENCE).await?;
    browser.type_into(&login, "li").await?;
    let password = browser.wait("#password", PATIENCE).await?;
    browser.type_into(&password, PASSWORD).await?;
    let button = browser.wait("form[action='/sign-in'] button", PATIENCE).await?;
    browser.click(&button).await?;
    browser.wait("#alarms", PATIENCE).await?;
    Ok(())
}

/// Marks the page; a reload would lose the mark.
async fn mark(browser: &Browser) -> anyhow::Result<()> {
    browser.script("window.loadedOnce = true").await.map(drop)
}

async fn ensure_not_reloaded(browser: &Browser) -> anyhow::Result<()> {
    ensure!(browser.script("return window.loadedOnce").await? == true, "the page was loaded anew");
    Ok(())
}

#[tokio::test]
async fn an_alarm_appears_by_itself_and_the_button_answers_it() -> anyhow::Result<()> {
    let mut gaswatch = Gaswatch::start("", &district()).await?;
    let browser = Browser::start().await?;
    sign_in(&browser, &gaswatch).await?;
    ensure!(browser.find("#alarm-rows tr").await?.is_none(), "an alarm before the alarm");
    mark(&browser).await?;

    publish(&gaswatch, r#"{"co_ppm":400}"#).await?;
    let row = browser.wait("#alarm-rows tr[data-level='danger'][data-waits='true']", PATIENCE).await?;
    let shown = browser.text(&row).await?;
    ensure!(shown.contains(ADDRESS) && shown.contains("400"), "the row says {shown:?}");
    ensure_not_reloaded(&browser).await?;

    let button = browser.wait("#alarm-rows form[data-ack] button", PATIENCE).await?;
    browser.click(&button).await?;
    browser.wait("#alarm-rows tr[data-waits='false']", PATIENCE).await?;
    let incident = gaswatch.incident_of("S-302").await?;
    assert_eq!(incident["state"], "acknowledged", "{incident:#}");
    assert_eq!(incident["acknowledged"]["via"], "console", "{incident:#}");

    ensure!(browser.complaints().await?.is_empty(), "the page complains");
    browser.close().await?;
    gaswatch.stop().await
}

#[tokio::test]
async fn the_language_is_switched_and_stays() -> anyhow::Result<()> {
    let mut gaswatch = Gaswatch::start("", &district()).await?;
    let browser = Browser::start().await?;
    sign_in(&browser, &gaswatch).await?;
    let heading = browser.wait("h1", PATIENCE).await?;
    assert_eq!(browser.text(&heading).await?, "报警");
    let menu = browser.wait("details.menu summary", PATIENCE).await?;
    browser.click(&menu).await?;
    let switch = browser.wait("button[name='language'][value='en']", PATIENCE).await?;
    browser.click(&switch).await?;
    browser.wait("html[lang='en'] #alarms", PATIENCE).await?;
    let heading = browser.wait("h1", PATIENCE).await?;
    assert_eq!(browser.text(&heading).await?, "Alarms");
    browser.go(&gaswatch.url("/sensors")).await?;
    browser.wait("html[lang='en'] main", PATIENCE).await?;
    browser.close().await?;
    gaswatch.stop().await
}

#[tokio::test]
async fn a_frozen_display_says_so_and_recovers() -> anyhow::Result<()> {
    let mut gaswatch = Gaswatch::start("", &district()).await?;
    let browser = Browser::start().await?;
    sign_in(&browser, &gaswatch).await?;
    // the stream is up: a live page has no banner
    browser.wait_gone(BANNER, PATIENCE).await?;
    mark(&browser).await?;

    gaswatch.signal("STOP").await?;
    let banner = browser.wait(BANNER, FREEZE_SHOWN_WITHIN).await;
    let banner = match banner {
        Ok(banner) => browser.text(&banner).await,
        Err(error) => Err(error),
    };
    // whatever happened, the server goes on, or it could not be stopped
    gaswatch.signal("CONT").await?;
    let words = banner.context("no word about the frozen display")?;
    ensure!(words.contains("画面已冻结"), "the banner says {words:?}");
    browser.wait_gone(BANNER, FREEZE_SHOWN_WITHIN).await?;
    ensure_not_reloaded(&browser).await?;

    // and it is live again
    publish(&gaswatch, r#"{"co_ppm":400}"#).await?;
    browser.wait("#alarm-rows tr[data-waits='true']", FREEZE_SHOWN_WITHIN).await?;
    ensure_not_reloaded(&browser).await?;
    browser.close().await?;
    gaswatch.stop().await
}

#[tokio::test]
async fn without_script_the_page_works_all_the_same() -> anyhow::Result<()> {
    let mut gaswatch = Gaswatch::start("", &district()).await?;
    publish(&gaswatch, r#"{"co_ppm":400}"#).await?;
    gaswatch.incident_of("S-302").await?;
    let browser = Browser::start_with(&["--blink-settings=scriptEnabled=false"]).await?;
    sign_in(&browser, &gaswatch).await?;
    let button = browser.wait("#alarm-rows form[data-ack] button", PATIENCE).await?;
    browser.click(&button).await?;
    eventually("the acknowledgement", PATIENCE, async || {
        Ok((gaswatch.incident_of("S-302").await?["state"] == "acknowledged").then_some(()))
    })
    .await?;
    browser.close().await?;
    gaswatch.stop().await
}
