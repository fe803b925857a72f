//! Keys of steps.

use silo_layers::{BuildLayer, Digest};

/// Collects what a step depends on.
#[derive(Debug)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Of a kind of step. The number of `kind` changes when such steps lead to something else.
    pub(super) fn new(kind: &str) -> Self {
        let mut key = Self(Vec::new());
        key.field(kind);
        key
    }

    pub(super) fn field(&mut self, field: impl AsRef<[u8]>) {
        let field = field.as_ref();
        self.0.extend_from_slice(&(field.len() as u64).to_le_bytes());
        self.0.extend_from_slice(field);
    }

    pub(super) fn list<T: AsRef<[u8]>>(&mut self, list: impl IntoIterator<Item = T>) {
        let fields: Vec<T> = list.into_iter().collect();
        self.field(fields.len().to_string());
        for field in fields {
            self.field(field);
        }
    }

    pub(super) fn layers(&mut self, layers: &[BuildLayer]) {
        self.list(layers.iter().map(|layer| *layer.diff_id().as_bytes()));
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let key = |fields: &[&str]| {
            let mut key = Key::new("test");
            key.list(fields);
            key.digest()
        };
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&[""]), key(&[]));
    }
}
