// SPDX-License-Identifier: MPL-2.0
//! One request and its reply: redirects, the token, limits.
//!
//! Invariant: the token goes to the origin the user named and to no other.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, LOCATION,
};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode};
use url::Url;

use super::{ClientConfig, endpoint, failure, tls};
use crate::signalling::SignallingError;
use crate::signalling::http::Protocol;

/// A longer description is refused.
const MAX_BODY: usize = 256 * 1024;

/// So much of the body of an error is read.
const MAX_ERROR_BODY: usize = 8 * 1024;

/// More redirects than this are a loop.
const MAX_REDIRECTS: usize = 10;

/// A connection that nothing was sent on for this time is closed.
const IDLE_LIMIT: Duration = Duration::from_secs(5);

/// `application/sdp`.
pub(super) const SDP: &str = "application/sdp";

/// What carries ICE alone (RFC 8840).
pub(super) const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// A request, but for its URL.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Of the body, and of the body that is wanted.
    pub(super) media_type: Option<&'static str>,
    pub(super) if_match: Option<HeaderValue>,
    pub(super) body: Bytes,
}

/// What came back.
pub(super) struct Reply {
    /// Where from, after all redirects.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Bounded; of an error only its beginning.
    pub(super) body: String,
    /// Whether the token was sent there.
    pub(super) with_token: bool,
}

impl Reply {
    pub(super) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// `type/subtype` of the body, in lower case; empty if it is not named.
    pub(super) fn media_type(&self) -> String {
        let value = self.header(CONTENT_TYPE).unwrap_or_default();
        let (media_type, _) = value.split_once(';').unwrap_or((value, ""));
        media_type.trim().to_ascii_lowercase()
    }
}

/// Sends requests. No connection outlives it.
pub(super) struct Transport {
    pub(super) protocol: Protocol,
    /// Through the proxies of the environment.
    proxied: reqwest::Client,
    /// For addresses of this machine, which no proxy can reach.
    direct: reqwest::Client,
    /// Whose origin gets the token.
    endpoint: Url,
    authorization: Option<HeaderValue>,
    /// For a request with all its redirects and its reply.
    limit: Duration,
}

impl Transport {
    /// One for `endpoint`.
    ///
    /// # Errors
    ///
    /// A token that no header can carry, certificates that cannot be read.
    pub(super) async fn new(config: &ClientConfig, endpoint: Url) -> Result<Self, SignallingError> {
        let authorization = match config.token.as_ref().map(|token| token.secret()) {
            None | Some("") => None,
            Some(token) => Some(bearer(token)?),
        };
        let tls = tls::trust(config.ca.clone()).await?;
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(config.timeout)
                .pool_idle_timeout(IDLE_LIMIT)
                .user_agent(concat!("rswebrtc/", env!("CARGO_PKG_VERSION")))
        };
        let fault = |error: reqwest::Error| {
            SignallingError::Settings(format!("no HTTP client can be made: {error}"))
        };
        Ok(Self {
            protocol: config.protocol,
            proxied: builder().build().map_err(fault)?,
            direct: builder().no_proxy().build().map_err(fault)?,
            endpoint,
            authorization,
            limit: config.timeout,
        })
    }

    /// Whether there is a token at all.
    pub(super) fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// Whether `text` has the token in it.
    pub(super) fn quotes_token(&self, text: &str) -> bool {
        let token = (self.authorization.as_ref())
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| text.contains(token))
    }

    /// Sends `request` to `url` and wherever that redirects to (RFC 9725 section 4.5), and reads
    /// the reply, whatever its status.
    ///
    /// # Errors
    ///
    /// No reply in time, none at all, one that is too long, redirects that lead nowhere.
    pub(super) async fn request(
        &self,
        url: &Url,
        request: &Request,
    ) -> Result<Reply, SignallingError> {
        match tokio::time::timeout(self.limit, self.follow(url.clone(), request)).await {
            Ok(result) => result,
            Err(_) => Err(failure::late(self.protocol, url, self.limit)),
        }
    }

    async fn follow(&self, mut url: Url, request: &Request) -> Result<Reply, SignallingError> {
        for _ in 0..=MAX_REDIRECTS {
            let (response, with_token) = self.hop(&url, request).await?;
            let status = response.status();
            let target = response.headers().get(LOCATION);
            if matches!(status.as_u16(), 307 | 308)
                && let Some(target) = target
            {
                let target = endpoint::resolve(&url, &String::from_utf8_lossy(target.as_bytes()));
                let target = target
                    .map_err(|cause| failure::redirect(self.protocol, &url, status, &cause))?;
                log::debug!(
                    target: "rswebrtc::signalling",
                    "{} redirects ({}) to {}",
                    endpoint::shown(&url), status.as_u16(), endpoint::shown(&target)
                );
                url = target;
                continue;
            }
            let headers = response.headers().clone();
            let body = self.body(&url, response).await?;
            return Ok(Reply {
                url,
                status,
                headers,
                body,
                with_token,
            });
        }
        let cause = format!("it redirected more than {MAX_REDIRECTS} times");
        let status = StatusCode::TEMPORARY_REDIRECT;
        Err(failure::redirect(self.protocol, &url, status, &cause))
    }

    async fn hop(
        &self,
        url: &Url,
        request: &Request,
    ) -> Result<(reqwest::Response, bool), SignallingError> {
        let client = if endpoint::is_loopback(url) {
            &self.direct
        } else {
            &self.proxied
        };
        let mut builder = client.request(request.method.clone(), url.clone());
        if let Some(media_type) = request.media_type {
            builder = builder
                .header(CONTENT_TYPE, media_type)
                .header(ACCEPT, media_type)
                .body(request.body.clone());
        }
        if let Some(tag) = &request.if_match {
            builder = builder.header(IF_MATCH, tag.clone());
        }
        let token =
            (self.authorization.as_ref()).filter(|_| url.origin() == self.endpoint.origin());
        if let Some(value) = token {
            builder = builder.header(AUTHORIZATION, value.clone());
        }
        let response = match builder.build() {
            Ok(request) => client.execute(request).await,
            Err(error) => Err(error),
        };
        let response = response.map_err(|error| failure::unreached(self.protocol, url, &error))?;
        // Whoever knows the address of a session may end it.
        let shown = match request.method {
            Method::POST => endpoint::shown(url),
            _ => "its session".to_owned(),
        };
        let status = response.status().as_u16();
        log::debug!(target: "rswebrtc::signalling", "{} {shown}: {status}", request.method);
        Ok((response, token.is_some()))
    }

    /// The body; of an error only its beginning, and nothing if it breaks off.
    async fn body(
        &self,
        url: &Url,
        mut response: reqwest::Response,
    ) -> Result<String, SignallingError> {
        // A counter-offer comes as an error, too.
        let short =
            !response.status().is_success() && response.status() != StatusCode::NOT_ACCEPTABLE;
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) if short => break,
                Err(error) => return Err(failure::unreached(self.protocol, url, &error)),
            }
            if short && body.len() > MAX_ERROR_BODY {
                body.truncate(MAX_ERROR_BODY);
                break;
            }
            if body.len() > MAX_BODY {
                return Err(failure::too_long(self.protocol, url, MAX_BODY));
            }
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

fn bearer(token: &str) -> Result<HeaderValue, SignallingError> {
    let visible = token.chars().all(|c| c.is_ascii_graphic());
    let value = HeaderValue::from_str(&format!("Bearer {token}")).ok();
    let Some(mut value) = value.filter(|_| visible) else {
        return Err(SignallingError::Settings(
            "auth-token has spaces, line ends or other characters in it that no token has: \
             set the token alone, without \"Bearer\""
                .to_owned(),
        ));
    };
    value.set_sensitive(true);
    Ok(value)
}
