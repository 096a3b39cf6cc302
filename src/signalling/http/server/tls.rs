// SPDX-License-Identifier: MPL-2.0
//! The server's certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{SignallingError, settings};

/// What TLS connections are accepted with.
pub(super) async fn acceptor(
    certificate: &Path,
    key: &Path,
) -> Result<TlsAcceptor, SignallingError> {
    let pem = read(certificate, "the certificate").await?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unfit(certificate, "the certificate", &error))?;
    if chain.is_empty() {
        return Err(settings(format!(
            "{} holds no certificate: it should have a block `BEGIN CERTIFICATE` (PEM)",
            certificate.display()
        )));
    }
    let pem = read(key, "the certificate's key").await?;
    let private = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| unfit(key, "the certificate's key", &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| settings(format!("TLS cannot be set up: {error}")))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| {
            settings(format!(
                "{} and {} do not make a certificate with its key ({error}): name two files that \
                 belong together",
                certificate.display(),
                key.display()
            ))
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn read(path: &Path, what: &str) -> Result<Vec<u8>, SignallingError> {
    tokio::fs::read(path)
        .await
        .map_err(|source| SignallingError::Read {
            what: format!("cannot read {what}, {}", path.display()),
            source: source.into(),
        })
}

fn unfit(path: &Path, what: &str, error: &rustls::pki_types::pem::Error) -> SignallingError {
    settings(format!(
        "{} is no PEM file with {what} ({error})",
        path.display()
    ))
}
