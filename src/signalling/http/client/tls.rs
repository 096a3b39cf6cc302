// SPDX-License-Identifier: MPL-2.0
//! What a client trusts: the certificates of the system, and those the user names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

use crate::signalling::SignallingError;

/// More than all authorities of a system take.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Reads the certificates, off the runtime's threads.
///
/// # Errors
///
/// A file that cannot be read, or has no certificate in it.
pub(super) async fn trust(ca: Option<PathBuf>) -> Result<ClientConfig, SignallingError> {
    tokio::task::spawn_blocking(move || read(ca.as_deref()))
        .await
        .map_err(|error| SignallingError::Settings(format!("certificates: {error}")))?
}

fn read(ca: Option<&Path>) -> Result<ClientConfig, SignallingError> {
    let own = ca.map(authorities).transpose()?.unwrap_or_default();
    // Ours alone: a default of the process would be a choice made for the whole application.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let fault = |error: &dyn std::fmt::Display| SignallingError::Settings(format!("TLS: {error}"));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(&error))?;
    let named = !own.is_empty();
    let verifier = match Verifier::new_with_extra_roots(own, provider) {
        Ok(verifier) => verifier,
        Err(error) if named => {
            return Err(SignallingError::Settings(format!(
                "tls-ca: a certificate in it is no certificate of an authority ({error})"
            )));
        }
        Err(error) => {
            // Plain http works all the same; https says what is missing when it comes to that.
            log::debug!(target: "rswebrtc::signalling", "no certificates of the system: {error}");
            return Ok(builder
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth());
        }
    };
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, SignallingError> {
    let shown = path.display();
    let named = std::fs::metadata(path);
    if named.is_ok_and(|file| !file.is_file() || file.len() > MAX_FILE) {
        // A pipe would be waited for without end.
        return Err(SignallingError::Settings(format!(
            "tls-ca: {shown} is no file of at most {MAX_FILE} bytes: name a PEM file with the \
             certificate of the authority"
        )));
    }
    let pem = std::fs::read(path).map_err(|error| {
        SignallingError::Settings(format!(
            "tls-ca: {shown} cannot be read ({error}): name a PEM file with the certificate of \
             the authority"
        ))
    })?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(SignallingError::Settings(format!(
            "tls-ca: {shown} has no certificate in it: it must be PEM, with BEGIN CERTIFICATE"
        ))),
        Err(error) => Err(SignallingError::Settings(format!(
            "tls-ca: {shown} cannot be read as PEM ({error})"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.pem");
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "hello").unwrap();
        let broken = directory.path().join("broken.pem");
        std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
        let odd = directory.path().join("odd.pem");
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&odd, text).unwrap();
        for path in [missing, empty, broken, odd, directory.path().to_owned()] {
            let error = read(Some(&path)).unwrap_err().to_string();
            assert!(error.contains("tls-ca"), "{error}");
        }
    }
}
