//! Providers that carry notifications.

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

/// The configured providers.
#[derive(Clone, Default)]
pub struct Providers;

impl Providers {
    /// # Errors
    /// When a URL cannot be understood.
    pub fn new(sms: Option<KannelSettings>, email: Option<EmailSettings>) -> Result<Providers, crate::AlertError> {
        let _ = (sms, email);
        todo!()
    }
}
