//! TLS to services: the public roots, and those that the operator adds.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pemfile as pem;

/// Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    pub(super) http1: Arc<ClientConfig>,
}

impl Tls {
    /// # Errors
    /// When the file of further roots cannot be read or holds none.
    pub fn new(further_roots: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = further_roots {
            let said = |it: &dyn std::fmt::Display| format!("{}: {it}", path.display());
            // A pipe without a writer would be waited for without an end.
            if !std::fs::metadata(path).map_err(|it| said(&it))?.is_file() {
                return Err(said(&"is no regular file"));
            }
            let file = std::fs::read(path).map_err(|it| said(&it))?;
            let found: Vec<_> =
                pem::certs(&mut &file[..]).collect::<Result<_, _>>().map_err(|it| said(&it))?;
            let (added, _) = roots.add_parsable_certificates(found);
            if added == 0 {
                return Err(said(&"holds no certificate in PEM form"));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|it| it.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { http1: Arc::new(config) })
    }
}
