// SPDX-License-Identifier: MPL-2.0
//! What is answered where (RFC 9725 section 4; draft-ietf-wish-whep section 4).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Extension, Path, Request as HttpRequest, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, LINK, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::problem::Problem;
use super::registry::NoPlace;
use super::session::{IfMatch, Opening, Patched, Request, Session};
use super::{Arrival, Shared, auth, body, cors, page};
use crate::signalling::http::fragment::Fragment;
use crate::signalling::message::{Refusal, RefusalKind};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote(pub(super) SocketAddr);

/// All routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let resource = format!("{}/{{id}}", shared.endpoint);
    Router::new()
        // A colon or an asterisk in the endpoint's path is no placeholder.
        .without_v07_checks()
        .route(&shared.endpoint, post(enter).options(endpoint_options))
        // Users write it in either way; a session's address is the same.
        .route(
            &format!("{}/", shared.endpoint),
            post(enter).options(endpoint_options),
        )
        .route(
            &resource,
            patch(change).delete(end).options(resource_options),
        )
        .route("/", get(show_page))
        .route(page::INDEX, get(show_page))
        .route(page::ICON, get(|| async { StatusCode::NO_CONTENT }))
        .method_not_allowed_fallback(no_such_method)
        .fallback(nothing_here)
        .layer(map_response(cors::allow))
        .with_state(shared)
}

async fn show_page(State(shared): State<Arc<Shared>>) -> Response {
    page::response(shared.page.clone())
}

async fn endpoint_options() -> Response {
    let headers = [(ALLOW, "POST, OPTIONS"), (ACCEPT_POST, SDP)];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn resource_options() -> Response {
    let headers = [
        (ALLOW, "PATCH, DELETE, OPTIONS"),
        (ACCEPT_POST, SDP),
        (ACCEPT_PATCH, FRAGMENT),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn no_such_method(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Problem {
    body::discard(request.into_body(), &shared.limits).await;
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "This method is not for this address; the header Allow names those that are.",
    )
}

async fn nothing_here(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Problem {
    body::discard(request.into_body(), &shared.limits).await;
    Problem::new(StatusCode::NOT_FOUND, "There is nothing here.")
}

/// The text of a request whose head passes `check`.
async fn text_if(
    shared: &Shared,
    request: HttpRequest,
    check: impl FnOnce(&HeaderMap) -> Result<(), Problem>,
) -> Result<String, Problem> {
    let (head, body) = request.into_parts();
    match check(&head.headers) {
        Ok(()) => body::read(body, &shared.limits).await,
        Err(problem) => {
            body::discard(body, &shared.limits).await;
            Err(problem)
        }
    }
}

/// POST to the endpoint: a client with its offer.
async fn enter(
    State(shared): State<Arc<Shared>>,
    Extension(Remote(remote)): Extension<Remote>,
    request: HttpRequest,
) -> Response {
    let outcome = offered(&shared, remote, request).await;
    log_outcome(&shared, "POST", remote, outcome.as_ref().err());
    outcome.unwrap_or_else(Problem::into_response)
}

async fn offered(
    shared: &Shared,
    remote: SocketAddr,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let offer = text_if(shared, request, |headers| {
        auth::check(&shared.tokens, headers)?;
        if !body::is_of_type(headers, SDP) {
            return Err(wrong_type(SDP).with(ACCEPT_POST, SDP));
        }
        Ok(())
    })
    .await?;
    if !offer.starts_with("v=0") {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "The body is no session description: one begins with `v=0`.",
        ));
    }
    if shared.refuses_new.load(Ordering::Acquire) {
        return Err(over());
    }
    let (place, requests) = shared.registry.enter().map_err(|no_place| match no_place {
        NoPlace::Full => Problem::busy("All places are taken: try again later.", "5"),
        NoPlace::NoRandom => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The server's system gives it no random numbers.",
        ),
    })?;
    let location = format!("{}/{}", shared.endpoint, place.id());
    let (opening, opened) = oneshot::channel();
    let id = place.id().to_owned();
    let arrival = Arrival {
        id: id.clone(),
        remote,
        signaller: Box::new(Session::new(
            place,
            offer,
            opening,
            requests,
            shared.answer_limit,
            shared.limits.request,
        )),
    };
    // overflow: DROPS the arrival; its client is told to come again
    shared
        .arrivals
        .try_send(arrival)
        .map_err(|error| match error {
            TrySendError::Full(_) => Problem::busy("Too many come at once: try again.", "1"),
            TrySendError::Closed(_) => over(),
        })?;
    match timeout(shared.answer_limit, opened).await {
        Ok(Ok(Ok(opening))) => created(shared, &location, opening),
        Ok(Ok(Err(refusal))) => Err(refused(refusal)),
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The session ended before the offer was answered.",
        )),
        Err(_) => {
            // Its signaller may not even run.
            shared.registry.remove(&id);
            Err(Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "The offer was not answered in time.",
            ))
        }
    }
}

fn created(shared: &Shared, location: &str, opening: Opening) -> Result<Response, Problem> {
    let mut response = (StatusCode::CREATED, opening.sdp).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
    headers.insert(LOCATION, header(location)?);
    headers.insert(ETAG, header(&opening.etag)?);
    for link in &shared.links {
        headers.append(LINK, link.clone());
    }
    Ok(response)
}

/// PATCH of a session: candidates, or an ICE restart.
async fn change(
    State(shared): State<Arc<Shared>>,
    Extension(Remote(remote)): Extension<Remote>,
    Path(id): Path<String>,
    request: HttpRequest,
) -> Response {
    let outcome = changed(&shared, &id, request).await;
    log_outcome(&shared, "PATCH", remote, outcome.as_ref().err());
    outcome.unwrap_or_else(Problem::into_response)
}

async fn changed(shared: &Shared, id: &str, request: HttpRequest) -> Result<Response, Problem> {
    let if_match = if_match(request.headers());
    let text = text_if(shared, request, |headers| {
        auth::check(&shared.tokens, headers)?;
        if shared.registry.find(id).is_none() {
            return Err(Problem::no_session());
        }
        if !body::is_of_type(headers, FRAGMENT) {
            return Err(wrong_type(FRAGMENT).with(ACCEPT_PATCH, FRAGMENT));
        }
        Ok(())
    })
    .await?;
    let fragment = Fragment::read(&text).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("The body is no fragment of a session description: {error}"),
        )
    })?;
    let (reply, replied) = oneshot::channel();
    let request = Request::Patch {
        fragment,
        if_match,
        reply,
    };
    match ask(shared, id, request, replied).await?? {
        Patched::Trickled => Ok(StatusCode::NO_CONTENT.into_response()),
        Patched::Restarted { fragment, etag } => {
            let mut response = (StatusCode::OK, fragment).into_response();
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(FRAGMENT));
            headers.insert(ETAG, header(&etag)?);
            Ok(response)
        }
    }
}

/// DELETE of a session. `If-Match` means nothing here (RFC 9725 section 4.3.1).
async fn end(
    State(shared): State<Arc<Shared>>,
    Extension(Remote(remote)): Extension<Remote>,
    Path(id): Path<String>,
    request: HttpRequest,
) -> Response {
    let (head, body) = request.into_parts();
    body::discard(body, &shared.limits).await;
    let outcome = async {
        auth::check(&shared.tokens, &head.headers)?;
        let (reply, replied) = oneshot::channel();
        ask(&shared, &id, Request::Delete { reply }, replied).await
    }
    .await;
    log_outcome(&shared, "DELETE", remote, outcome.as_ref().err());
    match outcome {
        Ok(()) => StatusCode::OK.into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Hands a request to its session and waits for what comes of it.
async fn ask<T>(
    shared: &Shared,
    id: &str,
    request: Request,
    replied: oneshot::Receiver<T>,
) -> Result<T, Problem> {
    let session = shared.registry.find(id).ok_or_else(Problem::no_session)?;
    let exchange = async {
        // overflow: awaited, within the limit below
        session.send(request).await.ok()?;
        replied.await.ok()
    };
    // A restart before this one may take its time first.
    match timeout(shared.limits.request * 2, exchange).await {
        Ok(reply) => reply.ok_or_else(Problem::no_session),
        Err(_) => Err(Problem::busy("The session is busy: try again.", "1")),
    }
}

fn if_match(headers: &HeaderMap) -> IfMatch {
    let mut values = headers.get_all(IF_MATCH).iter().peekable();
    if values.peek().is_none() {
        return IfMatch::Missing;
    }
    let tags = values.filter_map(|value| value.to_str().ok());
    IfMatch::of_tags(tags.flat_map(|value| value.split(',')))
}

fn refused(refusal: Refusal) -> Problem {
    match refusal.kind {
        RefusalKind::BadDescription => Problem::new(StatusCode::BAD_REQUEST, refusal.reason),
        RefusalKind::NothingInCommon => Problem::new(StatusCode::NOT_ACCEPTABLE, refusal.reason),
        RefusalKind::NotReady => Problem::busy(refusal.reason, "2"),
        RefusalKind::Internal => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, refusal.reason),
    }
}

fn wrong_type(wanted: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!("The header Content-Type must say {wanted}."),
    )
}

fn over() -> Problem {
    Problem::new(StatusCode::GONE, "The stream is over.")
}

/// What we write into headers is made of ASCII.
fn header(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The server wrote an impossible header.",
        )
    })
}

fn log_outcome(shared: &Shared, method: &str, remote: SocketAddr, problem: Option<&Problem>) {
    let protocol = shared.protocol.as_str();
    match problem {
        None => log::debug!(
            target: "rswebrtc::signalling", "{protocol} server: {method} of {remote} done"
        ),
        Some(problem) => log::debug!(
            target: "rswebrtc::signalling",
            "{protocol} server: {method} of {remote}: {} {problem}", problem.status.as_u16()
        ),
    }
}
