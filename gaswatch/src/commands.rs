//! Commands of the operator. These may print: standard output is their result.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::DeviceId;
use registry::people::{Account, Language, Person, StaffRole, put_people};
use store::Clock;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, Book, Listeners};
use crate::config::Config;
use crate::{demo, import, logging};

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the one place that tells a failed command's error")]
pub(crate) fn say_error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// SIGTERM and SIGINT, heard from the moment this is made.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(crate) fn hear() -> anyhow::Result<StopSignals> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
        })
    }

    /// Resolves at the first of either.
    pub(crate) async fn asked_to_stop(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

pub(crate) async fn serve(config: &Config) -> anyhow::Result<()> {
    logging::start(&config.log);
    demo::refuse_demo_data(&config.data)?;
    let signals = StopSignals::hear()?;
    let listeners = Listeners::bind(config).await?;
    let app = App::start(config, Clock::wall(), listeners, false).await?;
    say(&format!("console  {}", config.public_url(app.http)));
    say(&format!("sensors  mqtt://{}", app.mqtt));
    if let Some(password) = first_administrator(&app.book).await? {
        say(&format!("\nFirst start: sign in as admin with {}", hand_over(&password, &config.data)?));
        say("Next: describe your district in a file and `gaswatch import` it (docs/district-file.md).");
    }
    app.run(signals.asked_to_stop()).await
}

/// Tells the first password to the person at the terminal; where there is none, standard output is
/// somebody's log, and a private file is the place.
fn hand_over(password: &str, data: &Path) -> anyhow::Result<String> {
    if std::io::stdout().is_terminal() {
        return Ok(format!("password {password} (shown only now)"));
    }
    let path = data.join("first-password.txt");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(password.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(format!("the password in {}; change it with `gaswatch password admin` and remove the file", path.display()))
}

/// Makes an administrator when there is no account yet, and returns the password.
async fn first_administrator(book: &Book) -> anyhow::Result<Option<String>> {
    if !book.registry.accounts().await?.is_empty() {
        return Ok(None);
    }
    let person = Person {
        id: "admin".to_owned(),
        name: "Administrator".to_owned(),
        phone: String::new(),
        email: String::new(),
        language: Language::En,
    };
    let mut tx = book.ledger.begin().await?;
    put_people(&mut tx, &[person]).await?;
    tx.commit().await?;
    let password = new_password()?;
    let account = Account { login: "admin".to_owned(), person: "admin".to_owned(), role: StaffRole::Administrator };
    book.registry.put_account(&account, &password).await?;
    Ok(Some(password))
}

/// A fresh random password: 96 bits, 16 characters.
pub(crate) fn new_password() -> anyhow::Result<String> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).context("the system's random number source failed")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

pub(crate) fn print_config(config: &Config) -> anyhow::Result<()> {
    say(config.explained().trim_end());
    Ok(())
}

pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    say(&format!("the configuration is good; data goes to {}", config.data.display()));
    Ok(())
}

pub(crate) async fn import(config: &Config, file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let book = Book::open(config).await?;
    let district = import::DistrictFile::parse(&text).with_context(|| file.display().to_string())?;
    let counts = import::import(&book, &district).await?;
    book.ledger.close().await;
    say(&counts.to_string());
    Ok(())
}

pub(crate) async fn secret(config: &Config, id: &str) -> anyhow::Result<()> {
    let id = DeviceId::new(id)?;
    let book = Book::open(config).await?;
    let secret = book.credentials.secret(&id)?;
    book.ledger.close().await;
    say(&secret);
    Ok(())
}

#[derive(Debug, clap::Args)]
pub(crate) struct LoadOptions {
    /// MQTT server to measure
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1883")]
    mqtt: SocketAddr,
    /// Configuration of the gaswatch that serves there: the load's sensors are enrolled in its data.
    /// Leave it out for another server that lets anybody in
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Connections, one sensor each
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Unacknowledged messages per connection
    #[arg(long, default_value_t = 100)]
    window: u16,
    /// Measured time, seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Also subscribe and count what is delivered: what a relaying server does for its clients
    #[arg(long, conflicts_with = "config")]
    relay: bool,
}

/// Measures a server with readings at QoS 1 and prints the report as JSON.
pub(crate) async fn load(options: LoadOptions) -> anyhow::Result<()> {
    let mut load = simulator::load::LoadOptions::new(options.mqtt, Clock::wall().now());
    load.connections = options.connections;
    load.window = options.window;
    load.duration = Duration::from_secs(options.seconds);
    if let Some(file) = &options.config {
        let config = Config::load(Some(file), std::env::vars())?;
        load.credentials = Some(enrol_load(&config, &load).await?);
    }
    let counting = match options.relay {
        true => Some(
            simulator::load::count_deliveries(simulator::load::DeliveryOptions {
                address: options.mqtt,
                client_id: "load-subscriber".to_owned(),
                credentials: None,
                filter: "gas/v1/sensors/+/readings".to_owned(),
                qos: simulator::load::Qos::AtLeastOnce,
            })
            .await?,
        ),
        false => None,
    };
    let report = simulator::load::run(load).await?;
    say(&serde_json::to_string(&report)?);
    if let Some(mut counting) = counting {
        let all = tokio::time::timeout(Duration::from_secs(30), counting.reach(report.acknowledged)).await;
        let delivered = counting.finish().await;
        say(&serde_json::to_string(&delivered)?);
        if !matches!(all, Ok(true)) {
            say("not everything acknowledged was delivered within 30 s");
        }
    }
    Ok(())
}

async fn enrol_load(
    config: &Config,
    load: &simulator::load::LoadOptions,
) -> anyhow::Result<simulator::load::CredentialsFn> {
    let ids =
        (0..load.connections).map(|index| DeviceId::new(&(load.ids)(index))).collect::<Result<Vec<DeviceId>, _>>()?;
    let book = Book::open(config).await?;
    let secrets = book.credentials.enrol_sensors(&ids).await?;
    book.ledger.close().await;
    // the serving process looks for new credentials every second
    tokio::time::sleep(2 * crate::app::REFRESH_EVERY).await;
    let secrets: HashMap<String, String> = ids.iter().map(ToString::to_string).zip(secrets).collect();
    Ok(Arc::new(move |id| (id.to_owned(), secrets.get(id).cloned().unwrap_or_default())))
}

pub(crate) async fn password(config: &Config, login: &str) -> anyhow::Result<()> {
    let book = Book::open(config).await?;
    let accounts = book.registry.accounts().await?;
    let Some(account) = accounts.iter().find(|account| account.login == login) else {
        let known: Vec<&str> = accounts.iter().map(|account| account.login.as_str()).collect();
        bail!("there is no account {login}; known are: {}", known.join(", "));
    };
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password)?;
    book.registry.put_account(account, password.trim_end_matches(['\r', '\n'])).await?;
    book.ledger.close().await;
    say(&format!("the password of {login} is set"));
    Ok(())
}
