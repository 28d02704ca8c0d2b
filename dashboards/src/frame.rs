//! What surrounds every answer: who is looking (language, theme), the security headers, and faults
//! as pages or JSON.

use askama::Template as _;
use axum::Form;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{
    ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue,
    LOCATION, REFERRER_POLICY, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use registry::people::Language;

use crate::Shared;
use crate::chrome::FaultPage;
use crate::fault::Fault;
use crate::texts::Texts;
use crate::words::Words;

pub(crate) const POLICY: &str = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// What the visitor chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    /// By the district's clock: night from 19:00 to 7:00.
    Auto,
    Day,
    Night,
}

impl Theme {
    pub(crate) const ALL: [Theme; 3] = [Theme::Auto, Theme::Day, Theme::Night];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Theme::Auto => "auto",
            Theme::Day => "day",
            Theme::Night => "night",
        }
    }
}

/// Who is looking, as far as cookies and headers tell.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) language: Language,
    pub(crate) theme: Theme,
    /// Path and query of the page asked for.
    pub(crate) here: String,
}

impl Visitor {
    fn read(headers: &HeaderMap, uri: &Uri) -> Visitor {
        let jar = CookieJar::from_headers(headers);
        let chosen = jar.get("language").and_then(|cookie| language(cookie.value()));
        let asked = || headers.get(ACCEPT_LANGUAGE).and_then(|value| accepted(value.to_str().ok()?));
        let theme = jar.get("theme").and_then(|cookie| Theme::ALL.into_iter().find(|t| t.as_str() == cookie.value()));
        Visitor {
            language: chosen.or_else(asked).unwrap_or_default(),
            theme: theme.unwrap_or(Theme::Auto),
            here: uri.path_and_query().map_or("/", |here| here.as_str()).to_owned(),
        }
    }

    pub(crate) fn words(&self, shared: &Shared) -> Words {
        words(shared, self.language)
    }
}

pub(crate) fn words(shared: &Shared, language: Language) -> Words {
    Words { t: Texts::of(language), language, zone: shared.zone().clone(), now: shared.clock.now() }
}

fn language(code: &str) -> Option<Language> {
    match code {
        "zh" => Some(Language::Zh),
        "en" => Some(Language::En),
        _ => None,
    }
}

/// The better liked of our languages in an Accept-Language header.
fn accepted(header: &str) -> Option<Language> {
    let mut best: Option<(f32, Language)> = None;
    for part in header.split(',') {
        let (tag, quality) = part.split_once(';').unwrap_or((part, "q=1"));
        let quality = quality.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        if let Some(language) = language(&primary)
            && quality > best.map_or(0.0, |(quality, _)| quality)
        {
            best = Some((quality, language));
        }
    }
    best.map(|(_, language)| language)
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visitor, Self::Rejection> {
        let known = parts.extensions.get::<Visitor>().cloned();
        Ok(known.unwrap_or_else(|| Visitor::read(&parts.headers, &parts.uri)))
    }
}

/// The outermost layer.
pub(crate) async fn surround(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let visitor = Visitor::read(request.headers(), request.uri());
    let is_api = request.uri().path().starts_with("/api/") || request.uri().path().starts_with("/callbacks/");
    let from_elsewhere = request.method() != Method::GET
        && request.headers().get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    request.extensions_mut().insert(visitor.clone());
    let mut response = if from_elsewhere { Fault::FormExpired.into_response() } else { next.run(request).await };
    if let Some(fault) = fault_in(&response) {
        response = told(&shared, &visitor, &fault, is_api, response.headers());
    }
    harden(response.headers_mut());
    response
}

/// A handler's fault, or one that the router or an extractor has made.
fn fault_in(response: &Response) -> Option<Fault> {
    if let Some(fault) = response.extensions().get::<Fault>() {
        return Some(fault.clone());
    }
    let is_ours = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().starts_with(b"text/html") || kind.as_bytes().starts_with(b"application/json")
    });
    if is_ours {
        return None;
    }
    match response.status() {
        StatusCode::NOT_FOUND => Some(Fault::NotFound),
        StatusCode::METHOD_NOT_ALLOWED => Some(Fault::Method),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Fault::TooLarge),
        status if status.is_client_error() => Some(Fault::bad("bad_request", "")),
        _ => None,
    }
}

fn told(shared: &Shared, visitor: &Visitor, fault: &Fault, is_api: bool, headers: &HeaderMap) -> Response {
    let language = if is_api { Language::En } else { visitor.language };
    let told = fault.tell(Texts::of(language));
    let body = if is_api {
        let error = serde_json::json!({"code": told.code, "message": told.message, "next": told.next});
        axum::Json(serde_json::json!({"error": error})).into_response()
    } else {
        match FaultPage::new(shared, visitor, &told).render() {
            Ok(page) => Html(page).into_response(),
            Err(error) => {
                tracing::error!(%error, "the fault page could not be rendered");
                told.code.into_response()
            }
        }
    };
    let mut response = (told.status, body).into_response();
    for name in [axum::http::header::ALLOW, SET_COOKIE] {
        for value in headers.get_all(&name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    if is_api && told.status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"gaswatch\", charset=\"UTF-8\""));
    }
    response
}

fn harden(headers: &mut HeaderMap) {
    let fixed: [(HeaderName, &str); 5] = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// `303 See Other` to one of our own pages; anything else leads to the front page.
pub(crate) fn see_other(to: &str) -> Response {
    let target = HeaderValue::from_str(local(to)).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(LOCATION, target)]).into_response()
}

/// `to` if it is a path on this server that a browser cannot read as an address elsewhere.
pub(crate) fn local(to: &str) -> &str {
    let is_local = to.starts_with('/')
        && !to.starts_with("//")
        && to.len() <= 2_000
        && to.chars().all(|c| ('!'..='~').contains(&c) && c != '\\');
    if is_local { to } else { "/" }
}

#[derive(serde::Deserialize)]
pub(crate) struct Preferences {
    language: Option<String>,
    theme: Option<String>,
    to: Option<String>,
}

/// `POST /preferences`: language and theme, kept in cookies for a year.
pub(crate) async fn preferences(
    State(shared): State<Shared>,
    jar: CookieJar,
    Form(wanted): Form<Preferences>,
) -> Response {
    let mut jar = jar;
    let mut keep = |name: &'static str, value: &'static str| {
        let mut cookie = Cookie::new(name, value);
        cookie.set_path("/");
        cookie.set_same_site(SameSite::Lax);
        cookie.set_http_only(true);
        cookie.set_secure(shared.settings.secure_cookies);
        cookie.make_permanent();
        jar = std::mem::take(&mut jar).add(cookie);
    };
    match wanted.language.as_deref().and_then(language) {
        Some(Language::Zh) => keep("language", "zh"),
        Some(Language::En) => keep("language", "en"),
        None => {}
    }
    if let Some(theme) = Theme::ALL.into_iter().find(|theme| Some(theme.as_str()) == wanted.theme.as_deref()) {
        keep("theme", theme.as_str());
    }
    (jar, see_other(wanted.to.as_deref().unwrap_or("/"))).into_response()
}

/// The raw value of a cookie; the jar would also take percent-encoded ones.
pub(crate) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_ours_are_followed() {
        for good in ["/", "/incidents/7?x=1#top", "/sensors?text=%E5%8E%A8"] {
            assert_eq!(local(good), good);
        }
        for bad in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            "/a\r\nx: y",
            "/\tx",
        ] {
            assert_eq!(local(bad), "/", "{bad:?}");
        }
    }

    #[test]
    fn the_better_liked_language_wins() {
        assert_eq!(accepted("en-GB,en;q=0.9,zh-CN;q=0.8"), Some(Language::En));
        assert_eq!(accepted("fr, zh;q=0.5, en;q=0.4"), Some(Language::Zh));
        assert_eq!(accepted("fr"), None);
        assert_eq!(accepted(";;,q=x"), None);
    }
}
