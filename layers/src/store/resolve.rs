//! From a name or id to an image.

use std::collections::BTreeSet;

use super::{Store, refs::Entry};
use crate::{
    Digest, Image, Platform, Reference,
    error::{Error, Result},
};

impl Store {
    /// The image called `name` for the first of the `wanted` platforms that there is one for; with
    /// none wanted, its first image.
    ///
    /// `name` is a reference, or an image's id or digest, whole or the beginning of it. A name
    /// comes before an id's beginning, as in Docker.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchImage`], [`Error::AmbiguousId`], and [`Error::NoSuchPlatform`], which lists
    /// the platforms that there are.
    pub fn resolve(&self, name: &str, wanted: &[Platform]) -> Result<Image> {
        let entry = self.find(name)?;
        let mut images = self.images_under(&entry.descriptor)?;
        // The id of one of an index's images means that image.
        if let Some(hex) = id_digits(name)
            && !entry.name.is_some_and(|known| name.parse() == Ok(known))
            && let Some(member) = images.iter().position(|image| {
                image.digest.hex().starts_with(hex) || image.id.hex().starts_with(hex)
            })
        {
            images = vec![images.swap_remove(member)];
        }
        let platforms = images.iter().map(|image| &image.platform);
        match Platform::choose(platforms, wanted) {
            Some(position) => Ok(images.swap_remove(position)),
            None => Err(Error::NoSuchPlatform {
                name: name.to_owned(),
                wanted: wanted.to_vec(),
                available: images.into_iter().map(|image| image.platform).collect(),
            }),
        }
    }

    /// The entry of `index.json` that a name or id means.
    pub(crate) fn find(&self, name: &str) -> Result<Entry> {
        let entries = self.entries()?;
        let missing = || Error::NoSuchImage(name.to_owned());
        if let Some(hex) = id_digits(name) {
            return match self.find_by_id(&entries, hex, name)? {
                Some(entry) => Ok(entry),
                // `cafe` is also the name of a repository.
                None => name
                    .parse()
                    .ok()
                    .and_then(|reference| find_by_reference(&entries, &reference))
                    .ok_or_else(missing),
            };
        }
        find_by_reference(&entries, &name.parse()?).ok_or_else(missing)
    }

    /// The one image whose id, or whose manifest's or index's digest, begins so. Manifests of one
    /// config, as differently compressed layers make them, are one image.
    fn find_by_id(&self, entries: &[Entry], hex: &str, name: &str) -> Result<Option<Entry>> {
        if let Some(entry) =
            name.parse().ok().and_then(|reference| find_by_reference(entries, &reference))
        {
            return Ok(Some(entry));
        }
        let fits = |digest: Digest| digest.hex().starts_with(hex);
        let mut found: Option<(BTreeSet<Digest>, Entry)> = None;
        for entry in entries {
            let images = self.images_under(&entry.descriptor)?;
            let is_member = |image: &&Image| fits(image.id) || fits(image.digest);
            let mut configs: BTreeSet<Digest> =
                images.iter().filter(is_member).map(|image| image.id).collect();
            if fits(entry.digest) {
                configs.extend(images.iter().map(|image| image.id));
            }
            match &mut found {
                _ if configs.is_empty() => {}
                Some((known, _)) if *known != configs => {
                    return Err(Error::AmbiguousId(name.to_owned()));
                }
                Some((_, known)) if known.name.is_some() || entry.name.is_none() => {}
                _ => found = Some((configs, entry.clone())),
            }
        }
        Ok(found.map(|(_, entry)| entry))
    }
}

/// The hexadecimal digits of what can be an id.
fn id_digits(name: &str) -> Option<&str> {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    let digits = hex.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'));
    (digits && !hex.is_empty() && hex.len() <= 64).then_some(hex)
}

fn find_by_reference(entries: &[Entry], reference: &Reference) -> Option<Entry> {
    let fits = |entry: &&Entry| match (reference.digest(), &entry.name) {
        (None, Some(name)) => name == reference,
        // A digest says which image, whatever the tag; the repository must be one it is known by.
        (Some(digest), Some(name)) => {
            entry.digest == *digest && name.repository() == reference.repository()
        }
        (_, None) => false,
    };
    entries.iter().find(fits).cloned()
}
