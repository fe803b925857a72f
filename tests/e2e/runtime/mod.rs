//! `silo runtime`: the OCI runtime command line, by hand and under engines.
#![cfg(target_os = "linux")]

mod bundle;
mod engines;
mod hostile;
mod life;
mod namespaces;
mod process;
mod root;
mod sockets;
mod systemd;
mod webassembly;

use bundle::Bundle;
