//! Whom to trust. Nothing here is done before the first connection by TLS.

use std::sync::Arc;

use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::{Error, Result, Settings};

pub(super) fn config(settings: &Settings) -> Result<TlsConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    if settings.insecure {
        return Ok(builder.disable_verification(true).build());
    }
    Ok(builder.root_certs(roots(settings)?).build())
}

/// For connections without TLS: one that leads on to TLS trusts nobody.
pub(super) fn nobody() -> TlsConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    builder.root_certs(RootCerts::new_with_certs(&[])).build()
}

/// Those of the file that is named, or else of the system.
fn roots(settings: &Settings) -> Result<RootCerts> {
    let found = match &settings.certificates {
        Some(path) => {
            // A file that cannot be read would be told in words of that crate's own.
            std::fs::File::open(path).map_err(Error::io("open", path))?;
            let found = rustls_native_certs::load_certs_from_paths(Some(path), None).certs;
            if found.is_empty() {
                return Err(Error::NoCertificates { path: path.clone() });
            }
            found
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    let certificates: Vec<_> =
        found.iter().map(|found| Certificate::from_der(found).to_owned()).collect();
    Ok(RootCerts::new_with_certs(&certificates))
}
