// SPDX-License-Identifier: MPL-2.0
//! The URL to listen on.

use url::{Host, Url};

use super::{Protocol, SignallingError, settings};

/// Paths that have another meaning.
const TAKEN: [&str; 2] = [super::page::INDEX, super::page::ICON];

/// A location, taken apart.
#[derive(Debug)]
pub(super) struct Location {
    pub(super) tls: bool,
    pub(super) host: Host<String>,
    /// 0: any that is free.
    pub(super) port: u16,
    /// Of the endpoint: begins with a slash and ends with none.
    pub(super) path: String,
}

impl Location {
    /// Reads `text`. Its errors do not repeat it, since a password may be in it.
    pub(super) fn read(text: &str, protocol: Protocol) -> Result<Self, SignallingError> {
        let usual = match protocol {
            Protocol::Whip => "/whip",
            Protocol::Whep => "/whep",
        };
        let wrong = |what: String| {
            settings(format!(
                "the location to listen on {what}: write for example http://127.0.0.1:8080{usual}"
            ))
        };
        if text.is_empty() {
            return Err(wrong("is not set".to_owned()));
        }
        let url = Url::parse(text).map_err(|error| wrong(format!("is no URL ({error})")))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(wrong(format!("is a URL of {other}, not of http or https"))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "has a user or a password, which tokens are for".to_owned(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("has a ? or a # after its path".to_owned()));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(wrong("has no host".to_owned()));
        };
        // Two slashes at the start of a `Location` header would name another host.
        let path: String = url
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .flat_map(|part| ["/", part])
            .collect();
        if TAKEN.contains(&path.as_str()) {
            return Err(wrong(format!("has the path {path}, where the page is")));
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            path: if path.is_empty() {
                usual.to_owned()
            } else {
                path
            },
        })
    }

    /// The endpoint, with the port that it got.
    pub(super) fn url(&self, port: u16) -> String {
        let (scheme, usual) = if self.tls {
            ("https", 443)
        } else {
            ("http", 80)
        };
        let (host, path) = (&self.host, &self.path);
        if port == usual {
            format!("{scheme}://{host}{path}")
        } else {
            format!("{scheme}://{host}:{port}{path}")
        }
    }
}
