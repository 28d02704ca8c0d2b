//! `gaswatch demo`: everything in one process, with a simulated district and an accelerated clock.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::Stamp;
use serde::{Deserialize, Serialize};
use simulator::{Phones, PhonesOptions, Rates, Summary};
use store::Clock;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Listeners, make_private};
use crate::commands::{StopSignals, new_password, say};
use crate::config::{Config, Http, Kannel, Log, Mqtt};
use crate::logging;

mod district;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder of the demo's data
    #[arg(long, value_name = "DIR", default_value = "gaswatch-data")]
    data: PathBuf,
    /// Simulated homes, one sensor each
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    homes: u32,
    /// How many simulated seconds pass in one real second
    #[arg(long, default_value_t = 20.0, value_parser = speed)]
    speed: f64,
    /// The same number gives the same district and the same events
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where sensors connect
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// Console and API; give an address of this machine's network to open it to others
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (1.0..=600.0).contains(&speed) => Ok(speed),
        _ => Err("give a number from 1 to 600".to_owned()),
    }
}

/// How often the demo's time is noted, so that it goes on from there after a restart.
const NOTE_TIME_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    logging::start(&Log::default());
    let signals = StopSignals::hear()?;
    let mark = Mark::open(&options.data)?;
    let clock = Clock::scaled(mark.now.max(Clock::wall().now()), options.speed);

    let network = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let sms_url = format!("http://{}/cgi-bin/sendsms", network.local_addr()?);
    let phones = Phones::new(PhonesOptions {
        username: SMS_USER.to_owned(),
        password: SMS_USER.to_owned(),
        handset_delay: HANDSET_DELAY,
    })?;
    let mut config = config(&options, sms_url)?;
    let listeners = listen(&mut config).await?;

    let district = simulator::District::generate(options.seed, options.homes as usize);
    let app = App::start(&config, clock.clone(), listeners, true).await?;
    let password = new_password()?;
    let keys = district::put(&app.book, &district, &password, clock.now()).await?;

    say(&format!(
        "Gaswatch demo: {} simulated homes, time runs {} times as fast.\n\n  \
         console   http://{}\n  sign in   {} / {password}\n  sensors   mqtt://{}\n\n\
         Soon a flue is blocked in one bathroom: watch the CO rise, the incident open, the first\n\
         officer miss it and the deputy answer. All data is in {}. Ctrl+C stops.\n",
        options.homes,
        options.speed,
        app.http,
        district::LOGIN,
        app.mqtt,
        options.data.display(),
    ));

    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (phones, stop) = (phones.clone(), stop.clone());
        async move { phones.serve(network, stop).await }
    });
    let simulation = tokio::spawn(simulator::run(
        simulator::Options {
            district,
            secrets: keys.secrets,
            mqtt: app.mqtt,
            http: format!("http://{}", app.http),
            phones,
            logins: keys.logins,
            rates: Rates::default(),
            seed: options.seed,
            poisonings: true,
            wills: false,
        },
        stop.clone(),
    ));
    let noting = tokio::spawn(note_time(options.data.clone(), clock, stop.clone()));
    let outcome = app
        .run(async {
            signals.asked_to_stop().await;
            // the sensors go before the front door does
            stop.cancel();
            match simulation.await {
                Ok(Ok(summary)) => say(&told(&summary)),
                Ok(Err(error)) => tracing::error!(%error, "the simulation failed"),
                Err(error) => tracing::error!(%error, "the simulation panicked"),
            }
        })
        .await;
    stop.cancel();
    noting.await??;
    serving.await??;
    outcome
}

/// The simulated gateway's user name and password; it listens on loopback only.
const SMS_USER: &str = "demo";
const HANDSET_DELAY: Duration = Duration::from_millis(20);

/// What happened, for the person who ran it.
fn told(summary: &Summary) -> String {
    let worst = summary.alarm_latencies_ms.iter().max().map_or("-".to_owned(), |worst| format!("{worst} ms"));
    format!(
        "readings sent {}, acknowledged {}; poisonings {}; messages on phones {}; \
         slowest from 300 ppm to the first phone {worst}",
        summary.readings_sent,
        summary.readings_acknowledged,
        summary.poisonings.len(),
        summary.messages,
    )
}

fn config(options: &Options, sms_url: String) -> anyhow::Result<Config> {
    let mut config = Config {
        data: options.data.clone(),
        mqtt: Mqtt { listen: options.mqtt },
        http: Http { listen: options.http, public_url: String::new() },
        ..Config::default()
    };
    config.sms.kannel = Kannel {
        url: sms_url,
        username: SMS_USER.to_owned(),
        password: SMS_USER.to_owned(),
        from: "10690000".to_owned(),
    };
    let mail = std::path::absolute(options.data.join("mail")).context("finding the mail folder")?;
    config.email.url = format!("file:{}", mail.display());
    config.email.from = "Gaswatch <gaswatch@example.org>".to_owned();
    Ok(config)
}

/// Binds the sockets; where a default port is taken, a free one is chosen and said.
async fn listen(config: &mut Config) -> anyhow::Result<Listeners> {
    if let Ok(listeners) = Listeners::bind(config).await {
        return Ok(listeners);
    }
    for address in [&mut config.mqtt.listen, &mut config.http.listen] {
        if TcpListener::bind(*address).await.is_err() && address.ip().is_loopback() {
            tracing::warn!(%address, "this port is in use, taking a free one");
            address.set_port(0);
        }
    }
    Ok(Listeners::bind(config).await?)
}

/// Marks a data folder as a demo's, and remembers how far its time has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Mark {
    /// Epoch milliseconds of the demo's clock.
    now: Stamp,
}

const MARK_FILE: &str = "demo.toml";

impl Mark {
    fn open(data: &Path) -> anyhow::Result<Mark> {
        match std::fs::read_to_string(data.join(MARK_FILE)) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("{} is damaged", data.join(MARK_FILE).display())),
            Err(_) if data.join("ledger.db").exists() => {
                bail!("{} holds a real district; choose another folder with --data", data.display())
            }
            Err(_) => {
                make_private(data)?;
                let mark = Mark { now: Stamp::default() };
                mark.write(data)?;
                Ok(mark)
            }
        }
    }

    fn write(&self, data: &Path) -> anyhow::Result<()> {
        let fresh = data.join(format!("{MARK_FILE}.new"));
        std::fs::write(&fresh, toml::to_string(self)?)?;
        std::fs::rename(fresh, data.join(MARK_FILE))?;
        Ok(())
    }
}

/// Refuses to serve real devices from a demo's data.
pub(crate) fn refuse_demo_data(data: &Path) -> anyhow::Result<()> {
    if data.join(MARK_FILE).exists() {
        bail!("{} holds a demo; choose another data folder, or remove it", data.display());
    }
    Ok(())
}

async fn note_time(data: PathBuf, clock: Clock, stop: CancellationToken) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(NOTE_TIME_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return Mark { now: clock.now() }.write(&data),
        }
        if let Err(error) = (Mark { now: clock.now() }).write(&data) {
            tracing::warn!(%error, "the demo's time cannot be noted");
        }
    }
}
