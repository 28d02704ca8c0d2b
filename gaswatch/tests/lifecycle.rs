//! Starting and stopping as operators and service managers do it.

mod support;

use anyhow::{Context as _, ensure};
use support::gaswatch::Gaswatch;
use support::process::Process;

/// Exit code of a command line or configuration that cannot be used.
const USAGE: i32 = 64;

#[tokio::test]
async fn sigterm_right_after_readiness_is_an_orderly_stop() -> anyhow::Result<()> {
    let mut gaswatch = Gaswatch::install("", "").await?;
    // the first start makes an administrator besides
    for start in 1..=3 {
        gaswatch.serve().await?;
        gaswatch.stop().await.with_context(|| format!("start {start}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused_and_the_first_goes_on() -> anyhow::Result<()> {
    let mut gaswatch = Gaswatch::start("", "").await?;
    let config = std::fs::read_to_string(gaswatch.folder().join("gaswatch.toml"))?;
    let [mqtt, http] = support::free_ports()?;
    let elsewhere = config
        .replace(&format!(":{}", gaswatch.mqtt), &format!(":{mqtt}"))
        .replace(&format!(":{}", gaswatch.http), &format!(":{http}"));
    std::fs::write(gaswatch.folder().join("second.toml"), elsewhere)?;
    let (code, words) = serve_to_end(&gaswatch, "second.toml").await?;
    ensure!(code.is_some_and(|code| code != 0), "the second server ended with {code:?}");
    ensure!(words.contains("in use by another gaswatch process"), "{words}");
    gaswatch.api("/api/v1/incidents", &[]).await?;
    gaswatch.stop().await
}

#[tokio::test]
async fn a_port_in_use_and_an_unknown_key_are_usage_errors_with_words() -> anyhow::Result<()> {
    let gaswatch = Gaswatch::install("", "").await?;
    let taken = tokio::net::TcpListener::bind(("127.0.0.1", gaswatch.mqtt)).await?;
    let (code, words) = serve_to_end(&gaswatch, "gaswatch.toml").await?;
    assert_eq!(code, Some(USAGE), "{words}");
    ensure!(words.contains("mqtt.listen"), "{words}");
    drop(taken);
    std::fs::write(gaswatch.folder().join("wrong.toml"), "[mqtt]\nlisten_on = 1883\n")?;
    let (code, words) = serve_to_end(&gaswatch, "wrong.toml").await?;
    assert_eq!(code, Some(USAGE), "{words}");
    ensure!(words.contains("listen_on") && words.contains("wrong.toml"), "{words}");
    Ok(())
}

/// Runs a server that is expected to end by itself; returns exit code and words.
async fn serve_to_end(gaswatch: &Gaswatch, config: &str) -> anyhow::Result<(Option<i32>, String)> {
    let log = gaswatch.folder().join(format!("{config}.log"));
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_gaswatch"));
    command.current_dir(gaswatch.folder()).args(["serve", "--config", config]);
    let mut process = Process::start(&mut command, &log)?;
    let status = process.ended(support::PATIENCE).await?;
    Ok((status.code(), process.log()))
}
