//! Manifests with their configs, indexes, and Docker's `manifest.json`.

#![cfg_attr(feature = "engine", no_main)]

silo_layers_fuzz::target!(silo_layers::fuzzing::read_documents);
