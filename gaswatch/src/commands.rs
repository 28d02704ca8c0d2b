//! Commands of the operator. These may print: standard output is their result.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::DeviceId;
use registry::people::{Account, Language, Person, StaffRole, put_people};
use store::Clock;
use tokio::signal::unix::{SignalKind, signal};

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

/// Resolves at SIGTERM or SIGINT.
pub(crate) async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

pub(crate) async fn serve(config: &Config) -> anyhow::Result<()> {
    logging::start(&config.log);
    demo::refuse_demo_data(&config.data)?;
    let listeners = Listeners::bind(config).await?;
    let app = App::start(config, Clock::wall(), listeners, false).await?;
    say(&format!("console  {}", config.public_url(app.http)));
    say(&format!("sensors  mqtt://{}", app.mqtt));
    if let Some(password) = first_administrator(&app.book).await? {
        say(&format!("\nFirst start: sign in as admin with password {password}"));
        say("It is shown only now. Next: describe your district in a file and `gaswatch import` it (docs/district-file.md).");
    }
    let stop = async {
        if let Err(error) = asked_to_stop().await {
            tracing::error!(%error, "signals cannot be heard; stop this process with kill -9");
            std::future::pending::<()>().await;
        }
    };
    app.run(stop).await
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
