//! 400 ppm in a bathroom: a real SMS gateway and a real mail server tell people until one answers.
#![cfg(feature = "live")]

mod support;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use support::gaswatch::Gaswatch;
use support::kannel::{Kannel, Sms};
use support::mosquitto::Publisher;
use support::smtp::Smtp;
use support::{PATIENCE, eventually, http_client};
use tokio::time::Instant;

const ADDRESS: &str = "石井街潭村西街7号302";
const OFFICER: &str = "13800000001";
const DEPUTY: &str = "13800000002";
/// Seconds until the second step.
const SECOND_STEP: u64 = 3;

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
        class = "home"
        address = "{ADDRESS}"
        building = "tancun-7"

        [[sensor]]
        id = "S-302"
        premises = "P-302"
        room = "浴室"
        model = "CO-100"
        interval_s = 60
        range_ppm = 1000

        [[person]]
        id = "li"
        name = "李值班"
        phone = "{OFFICER}"
        email = "li@example.org"
        language = "zh"

        [[person]]
        id = "wang"
        name = "王副班"
        phone = "{DEPUTY}"
        email = "wang@example.org"
        language = "zh"

        [[shift]]
        post = "duty_officer"
        person = "li"

        [[shift]]
        post = "deputy"
        person = "wang"

        [[step]]
        level = "danger"
        after_s = 0
        posts = ["duty_officer"]

        [[step]]
        level = "danger"
        after_s = {SECOND_STEP}
        posts = ["deputy"]

        [[step]]
        level = "danger"
        after_s = 12
        posts = ["duty_officer", "deputy"]
        "#
    )
}

/// The link of `/a/{token}` in a message.
fn link(text: &str, gaswatch: &Gaswatch) -> anyhow::Result<String> {
    let begin = gaswatch.url("/a/");
    let at = text.find(&begin).with_context(|| format!("no link that begins with {begin} in {text:?}"))?;
    let is_of_link = |byte: char| byte.is_ascii_alphanumeric() || "/:._-~=%".contains(byte);
    Ok(text[at..].chars().take_while(|byte| is_of_link(*byte)).collect())
}

async fn next_text(kannel: &mut Kannel, to: &str) -> anyhow::Result<Sms> {
    let sms = kannel.text(PATIENCE).await?.with_context(|| format!("no text came to {to}"))?;
    ensure!(sms.to == to, "a text for {to} went to {}", sms.to);
    ensure!(sms.text.contains("400"), "the value is missing in {:?}", sms.text);
    ensure!(sms.text.contains(ADDRESS), "the address is missing in {:?}", sms.text);
    Ok(sms)
}

/// The first notification of a step (from 0) and channel in what the API shows of an incident.
fn notification<'d>(detail: &'d Value, step: i64, channel: &str) -> anyhow::Result<&'d Value> {
    let all = detail["notifications"].as_array().context("notifications are a list")?;
    let found = all.iter().find(|row| row["step"] == step && row["channel"] == channel);
    found.with_context(|| format!("no {channel} of step {step} in {detail:#}"))
}

#[tokio::test]
async fn danger_reaches_people_until_one_answers() -> anyhow::Result<()> {
    let mut kannel = Kannel::start().await?;
    let mut smtp = Smtp::start().await?;
    let mut gaswatch = Gaswatch::start(&(kannel.settings() + &smtp.settings()), &district()).await?;
    let secret = gaswatch.secret("S-302").await?;

    // somebody else's MQTT client publishes the reading; it ends with the PUBACK
    let publisher = Publisher { port: gaswatch.mqtt, version: "mqttv5", id: "S-302", secret: &secret };
    let started = Instant::now();
    let published = publisher.publish_lines("gas/v1/sensors/S-302/readings", "{\"co_ppm\":400}\n").await?;
    ensure!(published.succeeded(), "{published:?}");
    let acknowledged = Instant::now();

    // the officer on shift: by SMS, with value, address and link, and by mail
    let first = next_text(&mut kannel, OFFICER).await?;
    let took = acknowledged.elapsed();
    let whole = started.elapsed().as_millis();
    println!("end of mosquitto_pub to text on the phone: {} ms; from its start: {whole} ms", took.as_millis());
    ensure!(took < Duration::from_secs(20), "the first text took {took:?}");
    let link_of_officer = link(&first.text, &gaswatch)?;
    let mail = smtp.mail_to("li@example.org").await?;
    ensure!(mail.subject.contains("400") && !mail.texts.is_empty(), "{mail:?}");
    for text in &mail.texts {
        ensure!(text.contains("400") && text.contains(ADDRESS), "value or address is missing in {text:?}");
        link(text, &gaswatch)?;
    }

    let incident = gaswatch.incident_of("S-302").await?;
    assert_eq!((&incident["level"], &incident["state"]), (&Value::from("danger"), &Value::from("open")));
    let path = format!("/api/v1/incidents/{}", incident["id"]);

    // looking at the link changes nothing: mail scanners do that
    let client = http_client()?;
    let page = client.get(&link_of_officer).send().await?;
    assert_eq!(page.status(), 200);
    let page = page.text().await?;
    ensure!(page.contains("<form") && page.contains(ADDRESS), "{page}");
    assert_eq!(gaswatch.api(&path, &[]).await?["state"], "open");

    // nobody has answered: the second step goes to the second person, not before its time
    let second = next_text(&mut kannel, DEPUTY).await?;
    ensure!(
        acknowledged.elapsed() + Duration::from_secs(1) > Duration::from_secs(SECOND_STEP),
        "the deputy came early"
    );
    let link_of_deputy = link(&second.text, &gaswatch)?;
    ensure!(link_of_deputy != link_of_officer, "one link for two people");
    smtp.mail_to("wang@example.org").await?;

    // pressing the button acknowledges
    let answer = client.post(&link_of_deputy).send().await?;
    let status = answer.status();
    ensure!(status.is_success(), "the button says {status}: {}", answer.text().await?);
    let detail = gaswatch.api(&path, &[]).await?;
    assert_eq!((&detail["state"], &detail["next_step"]), (&Value::from("acknowledged"), &Value::Null), "{detail:#}");
    assert_eq!(detail["acknowledged"]["via"], "link");

    // and the third step, due meanwhile, does not come
    let quiet_until = acknowledged + Duration::from_secs(18);
    let third = kannel.text(quiet_until.saturating_duration_since(Instant::now())).await?;
    ensure!(third.is_none(), "escalation went on after the answer: {third:?}");

    // the network's receipts have come back, mails stop at "sent"
    let detail = eventually("delivery receipts", PATIENCE, async || {
        let detail = gaswatch.api(&path, &[]).await?;
        for step in [0, 1] {
            let sms = notification(&detail, step, "sms")?;
            ensure!(sms["delivery"] == "delivered" && sms["delivered"].is_string(), "{detail:#}");
        }
        Ok(Some(detail))
    })
    .await?;
    assert_eq!(notification(&detail, 0, "email")?["delivery"], "sent");
    gaswatch.stop().await?;
    kannel.stop().await
}

#[tokio::test]
async fn a_gateway_that_comes_back_sends_what_waited() -> anyhow::Result<()> {
    // nothing listens there yet
    let [port] = support::free_ports()?;
    let settings = format!(
        "[sms.kannel]\nurl = \"http://127.0.0.1:{port}/cgi-bin/sendsms\"\n\
         username = \"gaswatch\"\npassword = \"kannel-test\"\nfrom = \"10690000\"\n"
    );
    let mut gaswatch = Gaswatch::start(&settings, &district()).await?;
    let secret = gaswatch.secret("S-302").await?;
    let publisher = Publisher { port: gaswatch.mqtt, version: "mqttv5", id: "S-302", secret: &secret };
    let published = publisher.publish_lines("gas/v1/sensors/S-302/readings", "{\"co_ppm\":400}\n").await?;
    ensure!(published.succeeded(), "{published:?}");
    let incident = gaswatch.incident_of("S-302").await?;
    let path = format!("/api/v1/incidents/{}", incident["id"]);
    eventually("a failed attempt", PATIENCE, async || {
        let detail = gaswatch.api(&path, &[]).await?;
        Ok(notification(&detail, 0, "sms")?["attempts"].as_i64().filter(|attempts| *attempts > 0))
    })
    .await?;
    // the process dies with the text unsent, and starts again while the gateway comes up
    gaswatch.kill().await?;
    let mut kannel = Kannel::start_sending_on(port).await?;
    gaswatch.serve().await?;
    next_text(&mut kannel, OFFICER).await?;
    gaswatch.stop().await?;
    kannel.stop().await
}
