//! Layers, from an archive to a tree in both encodings.

#![cfg_attr(feature = "engine", no_main)]

silo_layers_fuzz::target!(silo_layers::fuzzing::unpack_layer);
