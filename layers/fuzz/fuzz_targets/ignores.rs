//! Files `.dockerignore`.

#![cfg_attr(feature = "engine", no_main)]

silo_layers_fuzz::target!(silo_builder::fuzzing::read_ignore);
