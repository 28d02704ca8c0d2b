//! The table of routes, and the guards in front of them. Deny by default: a route is reachable only
//! as its [`Access`] says, and every route has one.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::rights::{Rights, Role};
use registry::people::Session;
use subtle::ConstantTimeEq as _;

use crate::fault::Fault;
use crate::words::{Right, may};
use crate::{
    Shared, alarms, answer, api, assets, frame, incident, live, quarantine, roster, sensors, service, sign_in,
};

/// Forms and JSON of the console are small.
const MOST_BODY: usize = 64 * 1024;
pub(crate) const SESSION_COOKIE: &str = "gaswatch_session";

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody: sign-in, signed links, assets, health.
    Open,
    /// A person signed in; others are led to the sign-in page. `None`: any role.
    Page(Option<Right>),
    /// Fetched by a page's script: 401 without a session.
    Part(Right),
    /// The API, for a person signed in or an integration's credential.
    Data(Right),
    /// The API, for a person signed in only.
    StaffData(Right),
}

pub(crate) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests walk the table"))]
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    handler: MethodRouter<Shared>,
}

fn row(method: Method, path: &'static str, access: Access, handler: MethodRouter<Shared>) -> Route {
    Route { method, path, access, handler }
}

/// Every route there is.
pub(crate) fn table() -> Vec<Route> {
    use Access::{Data, Open, Page, Part, StaffData};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    let watch = Page(Some(Right::Watch));
    let answer_right = Page(Some(Right::Answer));
    vec![
        row(GET, "/", watch, get(alarms::page)),
        row(GET, "/fragments/alarms", Part(Right::Watch), get(alarms::fragment)),
        row(GET, "/incidents/{id}", watch, get(incident::page)),
        row(GET, "/fragments/incidents/{id}", Part(Right::Watch), get(incident::fragment)),
        row(POST, "/incidents/{id}/acknowledge", answer_right, post(incident::acknowledge)),
        row(POST, "/incidents/{id}/resolve", answer_right, post(incident::resolve)),
        row(GET, "/sensors", watch, get(sensors::page)),
        row(GET, "/sensors/{id}", watch, get(sensors::one)),
        row(GET, "/quarantine", Page(Some(Right::Raw)), get(quarantine::page)),
        row(GET, "/roster", watch, get(roster::page)),
        row(GET, "/live", Part(Right::Watch), get(live::stream)),
        row(GET, "/sign-in", Open, get(sign_in::page)),
        row(POST, "/sign-in", Open, post(sign_in::sign_in)),
        row(POST, "/sign-out", Page(None), post(sign_in::sign_out)),
        row(POST, "/preferences", Open, post(frame::preferences)),
        row(GET, "/a/{token}", Open, get(answer::page)),
        row(POST, "/a/{token}", Open, post(answer::answer)),
        row(GET, "/assets/{version}/{name}", Open, get(assets::serve)),
        row(GET, "/api/v1/sensors/latest", Data(Right::Watch), get(api::latest)),
        row(GET, "/api/v1/sensors/{id}/readings", Data(Right::Watch), get(api::readings)),
        row(GET, "/api/v1/incidents", Data(Right::Watch), get(api::incidents)),
        row(GET, "/api/v1/incidents/{id}", Data(Right::Watch), get(api::incident)),
        row(POST, "/api/v1/incidents/{id}/acknowledge", StaffData(Right::Answer), post(api::acknowledge)),
        row(GET, "/api/v1/clock", Open, get(service::clock)),
        row(GET, "/callbacks/{secret}/kannel", Open, get(service::kannel)),
        row(GET, "/healthz", Open, get(service::healthz)),
        row(GET, "/readyz", Open, get(service::readyz)),
        row(GET, "/metrics", Open, get(service::metrics)),
    ]
}

pub(crate) fn build(shared: Shared) -> Router {
    let mut router = Router::new();
    for route in table() {
        let guard = Guard { shared: shared.clone(), access: route.access };
        router = router.route(route.path, route.handler.route_layer(from_fn_with_state(guard, stand_guard)));
    }
    router
        .fallback(async || Fault::NotFound)
        .method_not_allowed_fallback(async || Fault::Method)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(from_fn_with_state(shared.clone(), frame::surround))
        .with_state(shared)
}

#[derive(Clone)]
struct Guard {
    shared: Shared,
    access: Access,
}

/// Who is asking the API.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Staff(Arc<Session>),
    Integration(Arc<Rights>),
}

/// The session of a route that needs one; the guard has put it there.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn(pub(crate) Arc<Session>);

impl SignedIn {
    pub(crate) fn may(&self, right: Right) -> bool {
        may(self.0.account.role, right)
    }
}

macro_rules! from_extensions {
    ($kind:ty) => {
        impl<S: Send + Sync> axum::extract::FromRequestParts<S> for $kind {
            type Rejection = Fault;
            async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, Fault> {
                parts.extensions.get::<$kind>().cloned().ok_or(Fault::Unauthorized)
            }
        }
    };
}
from_extensions!(SignedIn);
from_extensions!(Caller);

async fn stand_guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal,
    }
}

impl Guard {
    async fn admit(&self, mut request: Request) -> Result<Request, Response> {
        let (right, is_page, takes_integrations) = match self.access {
            Access::Open => return Ok(request),
            Access::Page(right) => (right, true, false),
            Access::Part(right) | Access::StaffData(right) => (Some(right), false, false),
            Access::Data(right) => (Some(right), false, true),
        };
        if takes_integrations && let Some(header) = request.headers().get(AUTHORIZATION) {
            let rights = header.to_str().ok().and_then(|header| self.integration(header));
            let rights = rights.ok_or_else(|| Fault::Unauthorized.into_response())?;
            request.extensions_mut().insert(Caller::Integration(rights));
            return Ok(request);
        }
        let session = session(&self.shared, request.headers()).await.map_err(IntoResponse::into_response)?;
        let Some(session) = session else {
            let is_get = request.method() == Method::GET || request.method() == Method::HEAD;
            let here = request.uri().path_and_query().filter(|_| is_get).map_or("/", |here| here.as_str());
            return Err(if is_page {
                frame::see_other(&sign_in::address(here))
            } else {
                Fault::Unauthorized.into_response()
            });
        };
        if right.is_some_and(|right| !may(session.account.role, right)) {
            return Err(Fault::Forbidden.into_response());
        }
        if request.method() == Method::POST {
            request = check_token(request, &session).await.map_err(IntoResponse::into_response)?;
        }
        let session = Arc::new(session);
        request.extensions_mut().insert(SignedIn(session.clone()));
        request.extensions_mut().insert(Caller::Staff(session));
        Ok(request)
    }

    fn integration(&self, header: &str) -> Option<Arc<Rights>> {
        let (scheme, encoded) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(encoded.trim()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let id = std::str::from_utf8(&decoded[..colon]).ok()?;
        let rights = self.shared.credentials.authenticate(id, &decoded[colon + 1..]).ok()?;
        (rights.role == Role::Integration).then_some(rights)
    }
}

/// The session whose token the cookie holds.
pub(crate) async fn session(shared: &Shared, headers: &HeaderMap) -> Result<Option<Session>, Fault> {
    match frame::cookie(headers, SESSION_COOKIE) {
        Some(token) if !token.is_empty() => Ok(shared.registry.session(token, shared.clock.now()).await?),
        _ => Ok(None),
    }
}

/// Checks the CSRF token of a POST, from the form field `csrf` or the header `x-csrf-token`.
async fn check_token(request: Request, session: &Session) -> Result<Request, Fault> {
    if let Some(token) = request.headers().get("x-csrf-token") {
        let is_ours = is_same(token.as_bytes(), session.csrf.as_bytes());
        return if is_ours { Ok(request) } else { Err(Fault::FormExpired) };
    }
    let (parts, body) = request.into_parts();
    let bytes: Bytes = to_bytes(body, MOST_BODY).await.map_err(|_| Fault::TooLarge)?;
    #[derive(serde::Deserialize)]
    struct Token {
        csrf: String,
    }
    let form: Result<axum::Form<Token>, _> = {
        use axum::extract::FromRequest as _;
        let copy = Request::from_parts(parts.clone(), Body::from(bytes.clone()));
        axum::Form::from_request(copy, &()).await
    };
    match form {
        Ok(axum::Form(Token { csrf })) if is_same(csrf.as_bytes(), session.csrf.as_bytes()) => {
            Ok(Request::from_parts(parts, Body::from(bytes)))
        }
        _ => Err(Fault::FormExpired),
    }
}

/// Compares secrets in constant time; an empty secret equals nothing.
pub(crate) fn is_same(given: &[u8], secret: &[u8]) -> bool {
    !secret.is_empty() && bool::from(given.ct_eq(secret))
}
