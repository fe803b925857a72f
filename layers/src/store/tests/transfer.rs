//! Images that come and go piece by piece.

use std::io::Read as _;

use super::*;
use crate::Document;

/// Sends an image of one store to another, as a registry between them would.
fn transfer(
    from: &Store,
    to: &Store,
    name: &str,
    spoil: impl Fn(Vec<u8>) -> Vec<u8>,
) -> Result<()> {
    let outgoing = from.send(name, None)?;
    let manifest = outgoing.document(outgoing.target())?.unwrap();
    let media_type = outgoing.target().media_type().to_string();
    let Document::Image(config) = Document::read(&media_type, &manifest)? else { panic!() };
    let config = outgoing.document(&config)?.unwrap();
    let image = Store::image_of(&manifest, &config)?;
    to.receive(|incoming| {
        incoming.add_document(&config)?;
        incoming.add_document(&manifest)?;
        for (layer, diff_id) in image.layers() {
            if incoming.has_layer(layer, diff_id)? {
                continue;
            }
            let digest: Digest = layer.digest().as_ref().parse()?;
            let mut blob = Vec::new();
            outgoing.blob(digest, "the image")?.read_to_end(&mut blob).unwrap();
            incoming.add_layer(layer, diff_id, &mut &*spoil(blob), &mut |_| ())?;
        }
        incoming.name(outgoing.target(), &name.parse()?)
    })
}

#[test]
fn an_image_that_was_sent_and_received_is_the_same() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let digest = one.import("app", "file");
    transfer(&one.store, &other.store, "app", |blob| blob).unwrap();
    assert_eq!(other.store.digest_of(&"app".parse().unwrap()).unwrap(), Some(digest));
    assert!(other.store.has("app").unwrap() && !other.store.has("nothing").unwrap());
    assert_eq!(other.counts(), one.counts());
    assert!(other.store.check(false).unwrap().is_whole());
    // What is there is not read.
    transfer(&one.store, &other.store, "app", |_| panic!("it has the layer")).unwrap();
}

#[test]
fn of_what_comes_damaged_nothing_stays_and_damage_is_what_is_told() {
    let (one, other) = (Fixture::new(), Fixture::new());
    one.load(&docker_archive(&gzip(&tar("file")), Digest::of(&tar("file")))).unwrap();
    let name = one.store.images().unwrap()[0].names[0].to_string();
    for place in [3, 12, 40] {
        let spoilt = transfer(&one.store, &other.store, &name, |mut blob| {
            blob[place] ^= 0xff;
            blob
        });
        assert!(matches!(spoilt, Err(Error::DigestMismatch { .. })), "{place}: {spoilt:?}");
    }
    let cut = transfer(&one.store, &other.store, &name, |blob| blob[..blob.len() - 9].to_vec());
    assert!(matches!(cut, Err(Error::SizeMismatch { .. })), "{cut:?}");
    assert_eq!(other.counts(), (0, 0, 0));
    assert_eq!(other.store.images().unwrap(), []);
}

#[test]
fn a_document_is_what_its_media_type_says() {
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    for media_type in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    ] {
        assert_eq!(Document::read(media_type, index).unwrap(), Document::Index(Vec::new()));
    }
    for media_type in ["", "text/html", "application/vnd.docker.distribution.manifest.v1+prettyjws"]
    {
        assert!(matches!(Document::read(media_type, index), Err(Error::MediaType { .. })));
    }
}

#[test]
fn repositories_are_known_by_the_names_of_images() {
    let fixture = Fixture::new();
    fixture.import("a.example/one", "file");
    fixture.store.tag("a.example/one", &"a.example/two".parse().unwrap()).unwrap();
    fixture.import("b.example/three", "other");
    let outgoing = fixture.store.send("a.example/one", None).unwrap();
    let known = outgoing.repositories("a.example").unwrap();
    let paths: Vec<_> = known.into_values().map(Vec::from_iter).collect();
    assert_eq!(paths, [["one", "two"]]);
}
