//! References, digests and platforms.

#![cfg_attr(feature = "engine", no_main)]

silo_layers_fuzz::target!(silo_layers::fuzzing::read_reference);
