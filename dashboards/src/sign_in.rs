//! Sign-in and sign-out.

use askama::Template;
use axum::Form;
use axum::extract::{Query, State};
use axum::http::header::{RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum_extra::extract::cookie::{Cookie, SameSite};
use registry::people::SignInError;

use crate::Shared;
use crate::chrome::Plate;
use crate::fault::Fault;
use crate::frame::{self, Visitor, see_other};
use crate::routes::{SESSION_COOKIE, SignedIn};
use crate::texts::{Texts, fill};

#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignInPage {
    t: &'static Texts,
    p: Plate,
    to: String,
    login: String,
    error: Option<String>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Asked {
    to: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(crate) struct Attempt {
    login: String,
    password: String,
    to: String,
}

/// Where to sign in, and come back to `here` afterwards.
pub(crate) fn address(here: &str) -> String {
    match frame::local(here) {
        "/" => "/sign-in".to_owned(),
        here => {
            let mut text = String::from("/sign-in?to=");
            for byte in here.bytes() {
                if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
                    text.push(char::from(byte));
                } else {
                    text.push_str(&format!("%{byte:02X}"));
                }
            }
            text
        }
    }
}

/// `GET /sign-in?to=`
pub(crate) async fn page(
    State(shared): State<Shared>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
) -> Result<Html<String>, Fault> {
    let to = frame::local(asked.to.as_deref().unwrap_or("/"));
    Ok(Html(form(&shared, &visitor, to, "", None).render()?))
}

fn form(shared: &Shared, visitor: &Visitor, to: &str, login: &str, error: Option<String>) -> SignInPage {
    // the language and theme buttons come back to the empty form
    let visitor = Visitor { here: address(to), ..visitor.clone() };
    SignInPage {
        t: Texts::of(visitor.language),
        p: Plate::new(shared, &visitor),
        to: to.to_owned(),
        login: login.to_owned(),
        error,
    }
}

/// `POST /sign-in`
pub(crate) async fn sign_in(
    State(shared): State<Shared>,
    visitor: Visitor,
    Form(attempt): Form<Attempt>,
) -> Result<Response, Fault> {
    let words = visitor.words(&shared);
    let t = words.t;
    let to = frame::local(&attempt.to);
    let refused = |status: StatusCode, error: String| -> Result<Response, Fault> {
        let page = form(&shared, &visitor, to, &attempt.login, Some(error));
        Ok((status, Html(page.render()?)).into_response())
    };
    match shared.registry.sign_in(attempt.login.trim(), &attempt.password, words.now).await {
        Ok((token, _)) => {
            let mut response = see_other(to);
            set_cookie(&shared, &mut response, session_cookie(&token))?;
            Ok(response)
        }
        Err(SignInError::Wrong) => refused(StatusCode::UNAUTHORIZED, t.sign_in_wrong.to_owned()),
        Err(SignInError::Throttled(until)) => {
            let mut response =
                refused(StatusCode::TOO_MANY_REQUESTS, fill(t.sign_in_throttled, &[&words.short(until)]))?;
            let seconds = until.since(words.now).max(0) / 1_000 + 1;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            Ok(response)
        }
        Err(SignInError::Registry(error)) => Err(error.into()),
    }
}

/// `POST /sign-out`
pub(crate) async fn sign_out(
    State(shared): State<Shared>,
    _signed_in: SignedIn,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    if let Some(token) = frame::cookie(&headers, SESSION_COOKIE) {
        shared.registry.sign_out(token).await?;
    }
    let mut response = see_other("/sign-in");
    let mut gone = session_cookie("");
    gone.make_removal();
    set_cookie(&shared, &mut response, gone)?;
    Ok(response)
}

/// It ends with the browser; the server ends it earlier.
fn session_cookie(token: &str) -> Cookie<'static> {
    let mut cookie = Cookie::new(SESSION_COOKIE, token.to_owned());
    cookie.set_http_only(true);
    // Lax, not Strict, so that a link in a message opens a signed-in page
    cookie.set_same_site(SameSite::Lax);
    cookie.set_path("/");
    cookie
}

fn set_cookie(shared: &Shared, response: &mut Response, mut cookie: Cookie<'static>) -> Result<(), Fault> {
    cookie.set_secure(shared.settings.secure_cookies);
    let value = HeaderValue::from_str(&cookie.to_string()).map_err(|_| Fault::Unavailable)?;
    response.headers_mut().append(SET_COOKIE, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_escaped_and_stays_here() {
        assert_eq!(address("/"), "/sign-in");
        assert_eq!(address("/sensors?text=a&b"), "/sign-in?to=/sensors%3Ftext%3Da%26b");
        assert_eq!(address("//evil.example"), "/sign-in");
    }
}
