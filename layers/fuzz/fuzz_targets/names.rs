//! Names of the portable encoding.

#![cfg_attr(feature = "engine", no_main)]

silo_layers_fuzz::target!(silo_layers::fuzzing::read_name);
