// SPDX-License-Identifier: MPL-2.0
//! The listening socket.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};
use url::Host;

use super::location::Location;
use super::{SignallingError, settings};

/// Clients that the system keeps for us until we accept them.
const BACKLOG: i32 = 1024;

/// What finding a host's address may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// A socket that listens at the location, with its real port. Of a name with several addresses
/// it is the first that can be had.
pub(super) async fn bind(location: &Location) -> Result<(TcpListener, u16), SignallingError> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in addresses(location).await? {
        match open(address).and_then(|listener| {
            let port = listener.local_addr()?.port();
            Ok((listener, port))
        }) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = error,
        }
    }
    Err(failed(location, &last))
}

async fn addresses(location: &Location) -> Result<Vec<SocketAddr>, SignallingError> {
    let port = location.port;
    let name = match &location.host {
        Host::Ipv4(address) => return Ok(vec![(IpAddr::V4(*address), port).into()]),
        Host::Ipv6(address) => return Ok(vec![(IpAddr::V6(*address), port).into()]),
        Host::Domain(name) => name,
    };
    let cure = "write an address of this machine, or 0.0.0.0 for all of them";
    match tokio::time::timeout(LOOKUP_LIMIT, lookup_host((name.as_str(), port))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(settings(format!(
            "cannot listen on {name}: no address is known for this name ({error}): {cure}"
        ))),
        Err(_) => Err(settings(format!(
            "cannot listen on {name}: looking for its address took longer than {} s: {cure}",
            LOOKUP_LIMIT.as_secs()
        ))),
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Connections of the server before this one may still linger on the port. (Elsewhere than on
    // Unix the option would share the port with another program.)
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` means all addresses, those of IPv4 too, whatever the system's default is.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn failed(location: &Location, error: &io::Error) -> SignallingError {
    let (host, port) = (&location.host, location.port);
    let cause = match error.kind() {
        ErrorKind::AddrInUse => {
            "another program, or another element, listens there: choose another port, or 0 for \
             any that is free"
        }
        ErrorKind::PermissionDenied if port < 1024 && port != 0 => {
            "ports below 1024 need a permission that this program has not: choose a higher one"
        }
        ErrorKind::PermissionDenied => "the system forbids it to this program",
        ErrorKind::AddrNotAvailable => {
            "this machine has no such address: write one of its own, or 0.0.0.0 for all of them"
        }
        _ => "choose another address or port",
    };
    settings(format!(
        "cannot listen on {host} port {port} ({error}): {cause}"
    ))
}
