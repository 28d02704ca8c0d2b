//! Styles, scripts and symbols, embedded. Their address holds a hash of them all, so they may be
//! kept by the browser for ever, and scripts can import each other by plain relative names.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::fault::Fault;

#[derive(rust_embed::Embed)]
#[folder = "assets/"]
pub(crate) struct Files;

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Files::iter().collect();
    names.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64; // FNV-1a over the files' SHA-256
    for byte in names.iter().filter_map(|name| Files::get(name)).flat_map(|file| file.metadata.sha256_hash()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut text = String::new();
    let _ = write!(text, "{hash:016x}");
    text
});

/// Address of an embedded file.
pub(crate) fn url(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// `GET /assets/{version}/{name}`. An old version answers with the file as it is now, unkept.
pub(crate) async fn serve(Path((version, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let file = Files::get(&name).ok_or(Fault::NotFound)?;
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-store" };
    Ok(([(CONTENT_TYPE, content_type(&name)), (CACHE_CONTROL, keep)], file.data.into_owned()).into_response())
}
