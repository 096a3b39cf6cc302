// SPDX-License-Identifier: MPL-2.0
//! What went wrong, in words that name cause and cure, and whether another try has a chance.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{LOCATION, RETRY_AFTER};
use rustls::CertificateError;
use url::Url;

use super::endpoint::{is_loopback, resolve, shown};
use super::transport::{Reply, Transport};
use crate::signalling::http::Protocol;
use crate::signalling::{Retry, SignallingError};

/// A server that wants a longer pause is asked again after this one.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// So much of what a server says about an error is shown.
const MAX_DETAIL: usize = 600;

/// The reply refuses the description that was sent.
pub(super) fn refused(transport: &Transport, reply: &Reply) -> SignallingError {
    let protocol = transport.protocol;
    let status = reply.status;
    let (cause, retry) = meaning(transport, reply);
    let detail = detail(reply)
        .filter(|detail| !transport.quotes_token(detail))
        .map(|detail| format!(". It says: {detail}"))
        .unwrap_or_default();
    let retry = match pause(reply) {
        Some(pause) if retry == Retry::Later => Retry::After(pause),
        _ => retry,
    };
    let (url, name, code) = (shown(&reply.url), protocol.as_str(), status.as_u16());
    http(
        format!("{name} at {url}: {cause} (HTTP {code}){detail}"),
        Some(code),
        retry,
    )
}

/// Cause, cure, and whether it may pass.
fn meaning(transport: &Transport, reply: &Reply) -> (String, Retry) {
    let protocol = transport.protocol;
    let name = protocol.as_str();
    let fixed = |text: &str| (text.to_owned(), Retry::Never);
    let passing = |text: &str| (text.to_owned(), Retry::Later);
    match (reply.status.as_u16(), protocol) {
        (300..=399, _) => {
            let target = reply
                .header(LOCATION)
                .and_then(|l| resolve(&reply.url, l).ok());
            let target = target.map_or_else(|| "elsewhere".to_owned(), |url| shown(&url));
            (
                format!(
                    "it redirects to {target} in a way that {name} does not know (307 and 308 \
                     are): set location to where the endpoint is"
                ),
                Retry::Never,
            )
        }
        (401 | 403, _) if !transport.has_token() => {
            fixed("the server wants a token: set auth-token")
        }
        (401 | 403, _) if !reply.with_token => fixed(
            "the endpoint redirects here, and a token is sent to the host in location only: \
             set location to this URL",
        ),
        (401, _) => fixed("the server refuses the token: check auth-token"),
        (403, _) => {
            fixed("the server does not allow this with this token: check auth-token and location")
        }
        (404, Protocol::Whip) => fixed("there is no such endpoint: check the path in location"),
        (404, Protocol::Whep) => passing(
            "there is no such stream: either nobody sends it yet, or the path in location is wrong",
        ),
        (405 | 501, _) => (
            format!("this is no {name} endpoint, it takes no POST: check the path in location"),
            Retry::Never,
        ),
        (406, Protocol::Whip) => fixed(
            "the server takes none of the codecs offered: use another encoder, or set \
             video-codecs to what the server takes",
        ),
        (406, Protocol::Whep) => {
            fixed("the server sends none of the codecs offered: allow more with video-codecs")
        }
        (408, _) => passing("the server did not get the whole offer in time"),
        (409, Protocol::Whip) => passing("somebody sends this stream already"),
        (409, Protocol::Whep) => passing("nobody sends this stream yet"),
        (410, _) => fixed("the stream is over"),
        (413, _) => fixed("the offer is too long for the server"),
        (415, _) => (
            format!("the server takes no SDP: check that location is a {name} endpoint"),
            Retry::Never,
        ),
        (400 | 422, _) => fixed("the server cannot read the offer; its log may say more"),
        (425 | 429, _) => passing("the server wants fewer requests"),
        (400..=499, _) => fixed("the server refuses the offer"),
        (503, _) => passing("the server has no room or is not ready"),
        (502 | 504, _) => passing("the proxy does not reach the server behind it"),
        (500..=599, _) => passing("the server has a fault; its log may say more"),
        _ => fixed("the server gives a reply that does not belong here"),
    }
}

/// What the server itself says: the beginning of a text, or a problem's title (RFC 9457).
fn detail(reply: &Reply) -> Option<String> {
    let text = match reply.media_type().as_str() {
        "text/plain" => reply.body.clone(),
        "application/problem+json" | "application/json" => {
            let json: serde_json::Value = serde_json::from_str(&reply.body).ok()?;
            let members = ["detail", "title", "error", "message"].into_iter();
            let mut texts = members.filter_map(|name| json.get(name)?.as_str());
            texts.next()?.to_owned()
        }
        _ => return None,
    };
    let text: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .take(MAX_DETAIL)
        .collect();
    let cut = text.chars().count() == MAX_DETAIL;
    let text = match text.trim().rsplit_once(' ') {
        Some((whole, _)) if cut => format!("{whole} …"),
        _ => text.trim().to_owned(),
    };
    // A description may come back, with its passwords.
    (!text.is_empty() && !text.contains("ice-pwd")).then_some(text)
}

/// `Retry-After` (RFC 9110 section 10.2.3), in seconds or as a date.
fn pause(reply: &Reply) -> Option<Duration> {
    let value = reply.header(RETRY_AFTER)?.trim();
    let pause = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(value).ok()?;
            // A date that has passed: now.
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(pause.min(MAX_PAUSE))
}

/// A reply that would do, but for what is in it.
pub(super) fn unreadable(protocol: Protocol, reply: &Reply, cause: &str) -> SignallingError {
    let (name, url, status) = (protocol.as_str(), shown(&reply.url), reply.status.as_u16());
    http(
        format!("{name} at {url}: {cause}: check that location is a {name} endpoint"),
        Some(status),
        Retry::Never,
    )
}

/// A redirect that cannot be followed.
pub(super) fn redirect(
    protocol: Protocol,
    url: &Url,
    status: StatusCode,
    cause: &str,
) -> SignallingError {
    http(
        format!(
            "{} at {}: the server redirects to where this client does not go: {cause}. Set \
             location to where the endpoint is",
            protocol.as_str(),
            shown(url)
        ),
        Some(status.as_u16()),
        Retry::Never,
    )
}

/// No reply in time.
pub(super) fn late(protocol: Protocol, url: &Url, limit: Duration) -> SignallingError {
    http(
        format!(
            "{} at {}: no reply within {limit:?}: check that the server is up and that location \
             is right",
            protocol.as_str(),
            shown(url)
        ),
        None,
        Retry::Later,
    )
}

/// A reply without an end.
pub(super) fn too_long(protocol: Protocol, url: &Url, limit: usize) -> SignallingError {
    http(
        format!(
            "{} at {}: the reply is longer than {limit} bytes, which no description is",
            protocol.as_str(),
            shown(url)
        ),
        None,
        Retry::Never,
    )
}

/// No reply at all.
pub(super) fn unreached(protocol: Protocol, url: &Url, error: &reqwest::Error) -> SignallingError {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let (cause, retry) = match found::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(cause)) => (certificate(cause, host), Retry::Never),
        Some(rustls::Error::InvalidMessage(_)) => (
            format!("port {port} of {host} speaks no TLS: is it http, or another port?"),
            Retry::Later,
        ),
        Some(cause) => (format!("no TLS with {host}: {cause}"), Retry::Later),
        None => (connection(error, host, port), Retry::Later),
    };
    let proxies = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"].into_iter();
    let mut proxies = proxies.filter(|name| {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        is_set(name) || is_set(&name.to_ascii_lowercase())
    });
    let proxy = match proxies.next() {
        Some(name) if !is_loopback(url) => {
            format!(". {name} is set: the proxy may be what fails")
        }
        _ => String::new(),
    };
    let (name, url) = (protocol.as_str(), shown(url));
    http(format!("{name} at {url}: {cause}{proxy}"), None, retry)
}

fn connection(error: &reqwest::Error, host: &str, port: u16) -> String {
    let kind = found::<io::Error>(error).map(io::Error::kind);
    if error.is_dns() {
        return format!("no address is known for {host}: check the name in location, and DNS");
    }
    match kind {
        Some(io::ErrorKind::ConnectionRefused) => format!(
            "nothing listens on port {port} of {host}: check that the server is up and that \
             location has the right port"
        ),
        _ if error.is_timeout() => format!("{host} does not answer on port {port}"),
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            format!("there is no way to {host}: check the network")
        }
        _ => {
            let cause = innermost(error);
            format!(
                "the connection to {host}, port {port}, gave no HTTP reply ({cause}): check that \
                 the server is up, and whether it is http or https"
            )
        }
    }
}

fn certificate(cause: &CertificateError, host: &str) -> String {
    match cause {
        CertificateError::UnknownIssuer => format!(
            "the certificate of {host} is signed by an authority that is not known here: if it \
             is yours, name its certificate in tls-ca"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the certificate is not for {host}: put the name that is in the certificate \
                 into location"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the certificate of {host} has expired (or the clock is wrong)")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the certificate of {host} is not valid yet (or the clock is wrong)")
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            format!(
                "the certificate of {host} is one of an authority, and a server needs one of its \
                 own: make it with basicConstraints=critical,CA:FALSE (openssl req -x509 -addext)"
            )
        }
        cause => format!(
            "the certificate of {host} is not accepted ({cause}): if it is its own authority, \
             have it signed by one and name that in tls-ca"
        ),
    }
}

/// The first `T` among the causes of `error`. An [`io::Error`] hides what it was made of from
/// [`Error::source`].
fn found<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = inner(cause);
    }
    None
}

fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(cause) => Some(cause),
        None => error.source(),
    }
}

/// The word of whatever failed first; reqwest's own would name the URL with its query.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a dyn Display {
    let mut last = error;
    while let Some(cause) = inner(last) {
        last = cause;
    }
    if last.is::<reqwest::Error>() {
        return &"it broke off";
    }
    last
}

fn http(text: String, status: Option<u16>, retry: Retry) -> SignallingError {
    SignallingError::Http {
        text,
        status,
        retry,
    }
}
