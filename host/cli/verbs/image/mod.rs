//! What `silo image` has beside Docker's older verbs.

pub(crate) mod diff;
pub(crate) mod squash;
pub(crate) mod tree;
