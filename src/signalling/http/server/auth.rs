// SPDX-License-Identifier: MPL-2.0
//! Bearer tokens (RFC 6750).

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use subtle::{Choice, ConstantTimeEq as _};

use super::Token;
use super::problem::Problem;

/// Whether a request with these headers may do what it asks.
///
/// How long this takes tells nothing of the tokens but their lengths.
pub(super) fn check(tokens: &[Token], headers: &HeaderMap) -> Result<(), Problem> {
    if tokens.is_empty() {
        return Ok(());
    }
    let Some(given) = bearer(headers) else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "This server opens with a token: send it as `Authorization: Bearer TOKEN`.",
        )
        .with(WWW_AUTHENTICATE, "Bearer"));
    };
    let known = tokens.iter().fold(Choice::from(0), |known, token| {
        known | token.secret().as_bytes().ct_eq(given)
    });
    if known.into() {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNAUTHORIZED,
        "This token does not open the server: ask whoever runs it for the right one.",
    )
    .with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""))
}

/// The token that was given, if any.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then_some(token.trim_ascii())
}
