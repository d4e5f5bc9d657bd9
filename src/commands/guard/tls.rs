//! The guard's certificate, for relays that speak TLS to it.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio_rustls::TlsAcceptor;

use crate::error::Failure;

/// From the files of a certificate and its key; `None` where neither is named.
///
/// # Errors
/// Where only one is named, a file cannot be read, or the two do not belong together.
pub(super) fn acceptor(certificate: Option<&Path>, key: Option<&Path>) -> Result<Option<TlsAcceptor>, Failure> {
    let (certificate_file, key_file) = match (certificate, key) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => return Err(Failure::usage("a certificate is named, and its key is not: --tls-key")),
        (None, Some(_)) => return Err(Failure::usage("a key is named, and its certificate is not: --tls-cert")),
    };
    let wrong = |file: &Path, problem: String| {
        Failure::usage(format!("the guard's certificate cannot be used: {}", file.display())).cause(problem)
    };
    let chain = CertificateDer::pem_file_iter(certificate_file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate_file, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate_file, "there is no certificate in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| wrong(key_file, error.to_string()))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(certificate_file, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
