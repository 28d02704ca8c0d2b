//! The HTTP client that clock, people and phones share.

use std::time::Duration;

use reqwest::redirect::Policy;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{}", with_causes(.0))]
    Request(#[from] reqwest::Error),
    #[error("{url} answered {status}{}", shortened(.body))]
    Status { url: String, status: u16, body: String },
    /// An answer came, but not what was asked for.
    #[error("{0}")]
    Unexpected(String),
}

/// A client that follows no redirects, so that every answer of the system is seen.
///
/// reqwest panics when the process has no TLS provider, even for plain HTTP; if nobody has chosen
/// one, ring becomes the process's provider here.
///
/// # Errors
/// When the client cannot be built.
pub(crate) fn client() -> Result<reqwest::Client, HttpError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // an error means that somebody else was faster, which is as good
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Ok(reqwest::Client::builder().timeout(PATIENCE).redirect(Policy::none()).no_proxy().build()?)
}

/// The body of a 2xx answer.
pub(crate) async fn get_text(client: &reqwest::Client, url: &str) -> Result<String, HttpError> {
    success(client.get(url).send().await?).await
}

/// The body of an answer, which must be 2xx.
pub(crate) async fn success(response: reqwest::Response) -> Result<String, HttpError> {
    let (url, status) = (response.url().to_string(), response.status());
    let body = response.text().await?;
    if status.is_success() { Ok(body) } else { Err(HttpError::Status { url, status: status.as_u16(), body }) }
}

fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn shortened(body: &str) -> String {
    let line = body.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.is_empty() {
        true => String::new(),
        false => format!(": {}", line.chars().take(160).collect::<String>()),
    }
}
