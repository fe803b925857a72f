//! Hostile images: each is refused whole, or contained where Docker accepts it harmlessly. Loaded as
//! the user who runs the tests, root in CI, in a directory that is watched.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

mod archives;
mod bytes;
mod layers;
mod watch;

use std::error::Error as _;

use silo_layers::{Error, Source, Store};

use self::{
    bytes::Image,
    watch::{Watched, tree},
};

/// What becomes of an image.
pub(crate) enum Fate {
    /// It is refused with a message that holds this.
    Refused(&'static str),
    /// It is loaded, and harms nobody.
    Contained,
}

/// A name that says what is hostile, the archive, and its fate.
pub(crate) type Case = (&'static str, Vec<u8>, Fate);

/// What decompresses to more than this and 200 times its size is a bomb here.
const UNPACKED_MAX: u64 = 1 << 20;

fn message(error: &Error) -> String {
    let source = error.source().map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

/// What is wrong with what became of a case, if anything.
fn fault(store: &Store, archive: &[u8], fate: &Fate) -> Option<String> {
    let loaded = store.load(Source::Reader(&mut &*archive), &mut |_| ());
    match (loaded, fate) {
        (Err(error), Fate::Refused(expected)) => {
            let message = message(&error);
            let clear = message.contains(expected)
                && !message.contains(['\n', '\x1b'])
                && message.len() < 1000;
            (!clear).then(|| format!("{message:?} is no clear `{expected}`"))
        }
        (Ok(_), Fate::Contained) => {
            let whole = store.check(false).unwrap().is_whole();
            store.remove("hostile", true, &|_| false).unwrap();
            (!whole).then(|| "the store is damaged".to_owned())
        }
        (Ok(_), Fate::Refused(expected)) => Some(format!("it was loaded, and not: {expected}")),
        (Err(error), Fate::Contained) => Some(message(&error)),
    }
}

#[test]
fn hostile_images_are_refused_whole_or_contained() {
    let watched = Watched::new();
    let store = Store::open(&watched.path("store")).unwrap().with_unpacked_max(UNPACKED_MAX);
    let good = Image::of(&[bytes::Tar::default().file("etc/good", b"good").end()]).named("good");
    store.load(Source::Reader(&mut &*good), &mut |_| ()).unwrap();
    let before = (watched.outside(), tree(store.root()));
    let mut faults = Vec::new();
    for (name, archive, fate) in layers::cases(&watched).into_iter().chain(archives::cases()) {
        let mut note = |fault: &str| faults.push(format!("{name}: {fault}"));
        if let Some(fault) = fault(&store, &archive, &fate) {
            note(&fault);
        }
        for path in watch::changed(&before.1, &tree(store.root())) {
            note(&format!("it changed {} of the store", path.display()));
        }
        for path in watch::changed(&before.0, &watched.outside()) {
            note(&format!("it changed {} outside", path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(store.check(false).unwrap().is_whole());
    assert!(store.resolve("good", &[]).is_ok());
}
