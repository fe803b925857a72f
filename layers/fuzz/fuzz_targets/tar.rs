//! Archives entry by entry: headers, pax records, long names, sparse maps.

#![cfg_attr(feature = "engine", no_main)]

silo_layers_fuzz::target!(silo_layers::fuzzing::read_tar);
