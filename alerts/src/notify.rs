//! Providers that carry notifications.

mod email;
mod kannel;

use std::sync::Arc;
use std::time::Duration;

use model::Stamp;

use crate::AlertError;
use crate::outbox::Channel;
use email::Mailer;
use kannel::Kannel;

/// An attempt that takes longer has failed: Kannel hangs when its bearerbox is down.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most characters kept of a provider's words.
const MOST_WORDS: usize = 200;

/// Kannel's HTTP interface.
#[derive(Clone)]
pub struct KannelSettings {
    /// For example `http://127.0.0.1:13013/cgi-bin/sendsms`.
    pub url: String,
    pub username: String,
    pub password: String,
    /// Sender number.
    pub from: String,
    /// Where Kannel reports deliveries, without query; `None` asks for no reports.
    pub report_url: Option<String>,
}

/// An SMTP server, or a folder for `.eml` files.
#[derive(Clone)]
pub struct EmailSettings {
    /// `smtp://user:password@host:587?tls=required`, `smtps://...`, `smtp://127.0.0.1:25` or `file:folder`.
    pub url: String,
    /// For example `Gaswatch <gaswatch@example.org>`.
    pub from: String,
    /// PEM file of an own certificate authority for the SMTP server, if the system's do not do.
    pub ca_file: Option<std::path::PathBuf>,
}

/// One message, ready to go.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) id: i64,
    pub(crate) incident: i64,
    pub(crate) channel: Channel,
    pub(crate) address: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) decided: Stamp,
}

/// What an attempt came to, with the provider's or network's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Sent,
    /// Taken, but not on its way yet.
    Queued(String),
    /// May work later.
    Retry(String),
    /// Will never work.
    Refused(String),
}

/// The configured providers.
#[derive(Clone, Default)]
pub struct Providers {
    sms: Option<Arc<Kannel>>,
    email: Option<Arc<Mailer>>,
}

impl Providers {
    /// # Errors
    /// When a URL cannot be understood.
    pub fn new(sms: Option<KannelSettings>, email: Option<EmailSettings>) -> Result<Providers, AlertError> {
        Ok(Providers {
            sms: sms.map(Kannel::new).transpose()?.map(Arc::new),
            email: email.map(|settings| Mailer::new(&settings)).transpose()?.map(Arc::new),
        })
    }

    pub(crate) fn carries(&self, channel: Channel) -> bool {
        match channel {
            Channel::Sms => self.sms.is_some(),
            Channel::Email => self.email.is_some(),
        }
    }

    /// Makes one attempt, of limited time.
    pub(crate) async fn send(&self, message: &Outgoing) -> Outcome {
        let attempt = async {
            match (message.channel, &self.sms, &self.email) {
                (Channel::Sms, Some(kannel), _) => kannel.send(message).await,
                (Channel::Email, _, Some(mailer)) => mailer.send(message).await,
                (channel, ..) => Outcome::Retry(format!("no provider for {} is configured", channel.as_str())),
            }
        };
        match tokio::time::timeout(TIMEOUT, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Retry(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

/// A provider's words in one short line.
fn words(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_WORDS).collect();
    text.trim().to_owned()
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    words(&text)
}
