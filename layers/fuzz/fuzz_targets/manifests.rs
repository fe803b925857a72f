//! A manifest or index, as a registry sends it.

#![cfg_attr(feature = "engine", no_main)]

silo_layers_fuzz::target!(silo_registry::fuzzing::read_manifest);
