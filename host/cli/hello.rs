//! The image that this program carries inside it.

use silo_layers::{Reference, Result, Source, Store};

/// An OCI archive, made by `examples/hello/image.rs`.
const ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello.tar"));
const NAME: &str = "docker.io/library/hello:latest";

/// Loads the embedded image if it is the one that is asked for and the store does not have it.
pub(crate) fn provide(store: &Store, image: &str) -> Result<()> {
    let wanted = image.parse::<Reference>().is_ok_and(|reference| reference.to_string() == NAME);
    if wanted && matches!(store.resolve(image, &[]), Err(silo_layers::Error::NoSuchImage(_))) {
        store.load(Source::Reader(&mut &*ARCHIVE), &mut |_| {})?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_image_is_there_when_it_is_asked_for_and_not_before() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        provide(&store, "other").unwrap();
        assert_eq!(store.images().unwrap().len(), 0);
        provide(&store, "hello").unwrap();
        provide(&store, "hello:latest").unwrap();
        let images = store.images().unwrap();
        assert_eq!(images.len(), 1);
        assert!(images[0].platforms.iter().any(|platform| platform.os == "wasi"));
    }
}
