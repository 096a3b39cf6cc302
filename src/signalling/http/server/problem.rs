// SPDX-License-Identifier: MPL-2.0
//! Why a request fails, as a client sees it.

use std::borrow::Cow;
use std::fmt;

use axum::http::header::{HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// A status, and the reason for people.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    text: Cow<'static, str>,
    header: Option<(HeaderName, &'static str)>,
}

impl Problem {
    /// Without a header of its own. `text` holds no secret.
    pub(super) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            text: text.into(),
            header: None,
        }
    }

    /// 503: the same would do after so many seconds.
    pub(super) fn busy(text: impl Into<Cow<'static, str>>, seconds: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text).with(RETRY_AFTER, seconds)
    }

    /// 404: no such session, or not any more.
    pub(super) fn no_session() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "There is no such session, or it has ended.",
        )
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A `String` as a body is `text/plain; charset=utf-8`.
        let mut response = (self.status, format!("{}\n", self.text)).into_response();
        if let Some((name, value)) = self.header {
            let headers = response.headers_mut();
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
