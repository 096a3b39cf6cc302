// SPDX-License-Identifier: MPL-2.0
//! The page that a browser gets.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};

use super::Protocol;

/// Where the page is, beside `/`.
pub(super) const INDEX: &str = "/index.html";

/// What browsers ask for unasked.
pub(super) const ICON: &str = "/favicon.ico";

/// Stands in the pages for the path of the endpoint.
const ENDPOINT: &str = "{{ENDPOINT}}";

/// The page is one file and talks to this server only.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    connect-src 'self'; media-src 'self' blob: mediastream:; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page for the clients of this endpoint; `navigation`: viewers steer.
pub(super) fn for_endpoint(protocol: Protocol, path: &str, navigation: bool) -> String {
    let page = match protocol {
        Protocol::Whep => include_str!("../page/player.html"),
        Protocol::Whip => include_str!("../page/publisher.html"),
    };
    let steering = match navigation {
        true => include_str!("../page/navigation.js"),
        false => "\n",
    };
    // A mark that stands for a file has a line of its own; comments name it too.
    page.replacen("\n{{LOOK}}\n", include_str!("../page/look.css"), 1)
        .replacen("\n{{NAVIGATION}}\n", steering, 1)
        .replacen("\n{{CALL}}\n", include_str!("../page/call.js"), 1)
        .replace(ENDPOINT, &escape(path))
}

/// `page` as it is sent.
pub(super) fn response(page: String) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page).into_response()
}

/// For text and for attributes in quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
