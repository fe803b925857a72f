//! The parsers of foreign bytes, for `layers/fuzz`. Each function takes any bytes, and a panic, a hang or
//! a failed assertion in it is a fault.

use crate::{auth, fetch};

/// Reads the header `WWW-Authenticate`.
pub fn read_challenge(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for challenge in auth::challenge::parse(text) {
        assert!(!challenge.scheme.is_empty());
    }
}

/// Reads Docker's `config.json`.
pub fn read_config(bytes: &[u8]) {
    auth::config::read(bytes, "registry.example");
}

/// Reads a manifest or index as a registry sends it.
pub fn read_manifest(bytes: &[u8]) {
    let Ok(manifest) = fetch::manifest_of("application/json", bytes.to_vec()) else { return };
    let media_type = manifest.descriptor.media_type().to_string();
    let _ = silo_layers::Document::read(&media_type, &manifest.content);
}
