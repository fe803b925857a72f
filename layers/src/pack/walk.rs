//! Walking trees of any depth without recursion: a guest decides how deep its directories are.

/// What is still to be visited, the next last.
pub(crate) struct Pending<T>(Vec<(Vec<u8>, T)>);

impl<T> Pending<T> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds what the directory `parent` holds, by name: it comes next, in the names' order.
    pub(crate) fn add(&mut self, parent: &[u8], entries: impl IntoIterator<Item = (Box<[u8]>, T)>) {
        let mut entries: Vec<_> =
            entries.into_iter().map(|(name, entry)| (join(parent, &name), entry)).collect();
        entries.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        self.0.append(&mut entries);
    }

    /// The next path and what is there.
    pub(crate) fn next(&mut self) -> Option<(Vec<u8>, T)> {
        self.0.pop()
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// The parent's path and the last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
