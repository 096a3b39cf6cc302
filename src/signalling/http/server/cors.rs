// SPDX-License-Identifier: MPL-2.0
//! Pages of other origins may use the server (Fetch standard, "CORS protocol"; RFC 9725
//! section 4.2 wants it of OPTIONS). Tokens, which no browser sends by itself, protect it, not
//! the origin.

use axum::http::HeaderValue;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderName,
};
use axum::response::Response;

const HEADERS: [(HeaderName, &str); 5] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (
        ACCESS_CONTROL_ALLOW_METHODS,
        "GET, POST, PATCH, DELETE, OPTIONS",
    ),
    (
        ACCESS_CONTROL_ALLOW_HEADERS,
        "Authorization, Content-Type, If-Match",
    ),
    (
        ACCESS_CONTROL_EXPOSE_HEADERS,
        "Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After, WWW-Authenticate",
    ),
    (ACCESS_CONTROL_MAX_AGE, "86400"),
];

/// `response`, with what lets pages of other origins read it.
pub(super) async fn allow(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
