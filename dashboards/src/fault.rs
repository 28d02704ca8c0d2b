//! Why a request was not served. Handlers return a [`Fault`]; the frame turns it into a page or JSON
//! with one and the same code.

use alerts::AlertError;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use registry::RegistryError;
use store::StoreError;

use crate::texts::Texts;

#[derive(Clone, Debug)]
pub(crate) enum Fault {
    NotFound,
    /// No session, and no integration credential where one would do.
    Unauthorized,
    /// The role may not.
    Forbidden,
    /// The form's token is not this session's, or the form came from another site.
    FormExpired,
    Method,
    TooLarge,
    /// A parameter is wrong: a stable code and what was expected, in English for the API.
    BadRequest(&'static str, String),
    /// The incident's state does not allow it.
    NotNow(String),
    /// Something inside failed; it has been logged, and is not shown.
    Unavailable,
}

/// A fault in words.
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) next: &'static str,
}

impl Fault {
    pub(crate) fn bad(code: &'static str, expected: &str) -> Fault {
        Fault::BadRequest(code, expected.to_owned())
    }

    fn status(&self) -> StatusCode {
        match self {
            Fault::NotFound => StatusCode::NOT_FOUND,
            Fault::Unauthorized => StatusCode::UNAUTHORIZED,
            Fault::Forbidden | Fault::FormExpired => StatusCode::FORBIDDEN,
            Fault::Method => StatusCode::METHOD_NOT_ALLOWED,
            Fault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::BadRequest(..) => StatusCode::BAD_REQUEST,
            Fault::NotNow(_) => StatusCode::CONFLICT,
            Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) fn tell(&self, t: &'static Texts) -> Told {
        let (code, message, next) = match self {
            Fault::NotFound => ("not_found", t.e_not_found, t.n_not_found),
            Fault::Unauthorized => ("unauthorized", t.e_unauthorized, t.n_unauthorized),
            Fault::Forbidden => ("forbidden", t.e_forbidden, t.n_forbidden),
            Fault::FormExpired => ("form_expired", t.e_form_expired, t.n_form_expired),
            Fault::Method => ("method_not_allowed", t.e_method, t.n_method),
            Fault::TooLarge => ("too_large", t.e_too_large, t.n_too_large),
            Fault::BadRequest(code, _) => (*code, t.e_bad_request, t.n_bad_request),
            Fault::NotNow(_) => ("not_now", t.e_not_now, t.n_not_now),
            Fault::Unavailable => ("unavailable", t.e_unavailable, t.n_unavailable),
        };
        let message = match self {
            Fault::BadRequest(_, detail) | Fault::NotNow(detail) if !detail.is_empty() => {
                format!("{message}: {detail}")
            }
            _ => message.to_owned(),
        };
        Told { status: self.status(), code, message, next }
    }
}

/// A bare status; the frame adds the body.
impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Fault {
        tracing::error!(%error, "the registry failed");
        Fault::Unavailable
    }
}

impl From<inspection::InspectionError> for Fault {
    fn from(error: inspection::InspectionError) -> Fault {
        tracing::error!(%error, "the inspection book failed");
        Fault::Unavailable
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        tracing::error!(%error, "the store failed");
        Fault::Unavailable
    }
}

impl From<AlertError> for Fault {
    fn from(error: AlertError) -> Fault {
        match error {
            AlertError::NoIncident(_) => Fault::NotFound,
            AlertError::NotNow(why) | AlertError::Invalid(why) => Fault::NotNow(why),
            other => {
                tracing::error!(error = %other, "the alert engine failed");
                Fault::Unavailable
            }
        }
    }
}

impl From<askama::Error> for Fault {
    fn from(error: askama::Error) -> Fault {
        tracing::error!(%error, "a page could not be rendered");
        Fault::Unavailable
    }
}

impl From<tokio::task::JoinError> for Fault {
    fn from(error: tokio::task::JoinError) -> Fault {
        tracing::error!(%error, "a task ended early");
        Fault::Unavailable
    }
}
