// SPDX-License-Identifier: MPL-2.0
//! The body of a request, as text.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, HttpBody as _};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use super::limits::Limits;
use super::problem::Problem;

/// A body that is too long, or refused unseen, is read and dropped up to so many times the limit:
/// a client that still writes when its connection ends would not see the reason.
const DROPPED: usize = 8;

/// Whether the headers say that the body is of this type, whatever the parameters.
pub(super) fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
}

/// All of it, within the limits.
pub(super) async fn read(body: Body, limits: &Limits) -> Result<String, Problem> {
    let bytes = timeout(limits.body, collect(body, limits.body_size, limits))
        .await
        .map_err(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "The body did not come in time.",
            )
        })??;
    String::from_utf8(bytes)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The body is not UTF-8."))
}

/// Reads and drops a body that does not matter any more, within the limits.
pub(super) async fn discard(body: Body, limits: &Limits) {
    let _ = timeout(limits.body, collect(body, 0, limits)).await;
}

/// Keeps up to `limit` bytes.
async fn collect(mut body: Body, limit: usize, limits: &Limits) -> Result<Vec<u8>, Problem> {
    let most = limits.body_size.saturating_mul(DROPPED);
    let mut bytes = Vec::new();
    let mut length = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if length <= most {
        length = 0;
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|_| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    "The body broke off, or is garbled.",
                )
            })?;
            let Ok(data) = frame.into_data() else {
                continue; // trailers
            };
            length = length.saturating_add(data.len());
            if length <= limit {
                bytes.extend_from_slice(&data);
            } else if length > most {
                break;
            }
        }
    }
    if length > limit {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body has more than {limit} bytes."),
        ));
    }
    Ok(bytes)
}
