//! The program `silo`.

mod format;

fn main() {}
