//! The program `silo`: its command line, and the one place that prints, reads the environment
//! and decides how to exit.
#![forbid(unsafe_code)]

mod bars;
mod changes;
mod command;
mod container;
mod context;
mod detach;
mod environment;
mod failure;
mod foreground;
mod format;
mod hello;
mod limits;
mod misuse;
mod output;
mod progress;
#[cfg(test)]
mod reference;
mod registries;
#[cfg(target_os = "linux")]
mod runtime;
mod security;
mod signals;
mod sink;
mod terminal;
mod values;
mod verbs;
mod wasm_program;

fn main() -> std::process::ExitCode {
    command::main()
}
