//! The program `silo`.

fn main() {}
