// SPDX-License-Identifier: MPL-2.0
//! The servers that the user named, and where they are.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rtc::ice::url::{ProtoType, SchemeType, Url};
use tokio::task::JoinSet;

use crate::peer::IceServer;

/// For all names together.
const LIMIT: Duration = Duration::from_secs(2);

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::peer) enum Service {
    /// How it sees us.
    Stun,
    /// An address of its own that leads to us.
    Turn,
}

/// A server whose name was resolved.
pub(in crate::peer) struct Server {
    /// What it is for.
    pub(in crate::peer) service: Service,
    /// As the user named it, without user and password.
    pub(in crate::peer) url: String,
    /// Where it is; of each family the first is used.
    pub(in crate::peer) addresses: Vec<SocketAddr>,
    /// TURN user name.
    pub(in crate::peer) username: String,
    /// TURN password; never logged.
    pub(in crate::peer) credential: String,
}

impl Server {
    /// Reads the URL; the addresses are still missing.
    ///
    /// # Errors
    ///
    /// Why this server cannot be used.
    fn read(named: &IceServer) -> Result<(Self, Url), String> {
        // RFC 7064 knows no query, and many write one.
        let text = match named.url.split_once('?') {
            Some((text, _)) if text.starts_with("stun") => text,
            _ => named.url.as_str(),
        };
        let url = Url::parse_url(text).map_err(|error| format!("no such URL: {error}"))?;
        let service = match url.scheme {
            SchemeType::Stun => Service::Stun,
            SchemeType::Turn if url.proto == ProtoType::Udp => Service::Turn,
            _ => return Err("only UDP is supported to STUN and TURN servers".to_owned()),
        };
        let server = Self {
            service,
            url: named.url.clone(),
            addresses: Vec::new(),
            username: named.username.clone(),
            credential: named.credential.clone(),
        };
        Ok((server, url))
    }
}

/// Finds all servers within two seconds. The second part: which of them are left out, and why.
pub(super) async fn resolve(named: &[IceServer]) -> (Vec<Server>, Vec<String>) {
    let mut servers = Vec::new();
    let mut problems = Vec::new();
    let mut lookups = JoinSet::new();
    for named in named {
        match Server::read(named) {
            Ok((mut server, url)) => {
                if let Ok(ip) = url.host.parse::<IpAddr>() {
                    server.addresses.push(SocketAddr::new(ip, url.port));
                } else {
                    let index = servers.len();
                    lookups.spawn(async move { (index, look_up(&url.host, url.port).await) });
                }
                servers.push(server);
            }
            Err(why) => problems.push(format!("{}: {why}", named.url)),
        }
    }
    while let Some(done) = lookups.join_next().await {
        if let Ok((index, found)) = done
            && let Some(server) = servers.get_mut(index)
        {
            match found {
                Ok(addresses) => server.addresses = addresses,
                Err(why) => problems.push(format!("{}: {why}", server.url)),
            }
        }
    }
    servers.retain(|server| !server.addresses.is_empty());
    (servers, problems)
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::time::timeout(LIMIT, tokio::net::lookup_host((host, port))).await;
    let addresses: Vec<_> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(format!("its name has no address: {error}")),
        Err(_) => return Err("its name was not resolved within 2 s".to_owned()),
    };
    if addresses.is_empty() {
        return Err("its name has no address".to_owned());
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(url: &str) -> IceServer {
        IceServer {
            url: url.to_owned(),
            username: "user".to_owned(),
            credential: "secret".to_owned(),
        }
    }

    #[tokio::test]
    async fn urls_in_every_form_are_found() {
        let (servers, problems) = resolve(&[
            named("stun:127.0.0.1"),
            named("stun:127.0.0.1:3479?transport=udp"),
            named("turn:[::1]:1234?transport=udp"),
            named("turn:localhost:99"),
        ])
        .await;
        assert_eq!(problems, [""; 0]);
        let first: Vec<_> = servers
            .iter()
            .map(|s| (s.service, s.addresses[0]))
            .collect();
        assert_eq!(first[0], (Service::Stun, "127.0.0.1:3478".parse().unwrap()));
        assert_eq!(first[1], (Service::Stun, "127.0.0.1:3479".parse().unwrap()));
        assert_eq!(first[2], (Service::Turn, "[::1]:1234".parse().unwrap()));
        assert!(first[3].1.ip().is_loopback() && first[3].1.port() == 99);
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_told_with_its_url_and_without_the_password() {
        let urls = [
            "turns:127.0.0.1",
            "turn:127.0.0.1?transport=tcp",
            "stuns:127.0.0.1",
            "turn:",
            "nonsense",
        ];
        let (servers, problems) = resolve(&urls.map(named)).await;
        assert!(servers.is_empty());
        for (problem, url) in problems.iter().zip(urls) {
            assert!(problem.starts_with(url), "{problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
        assert!(
            problems[1].contains("only UDP is supported"),
            "{problems:?}"
        );
    }
}
