//! The program as its users have it: every test runs the built `silo` with a store of its own.
