//! What the program is built of beside its sources: the image `hello`, and libgcc's unwinder.

#[path = "../../examples/hello/image.rs"]
mod image;

use std::{env, error::Error, ffi::OsString, path::Path, process::Command};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    image::build()?;
    if links_shared_unwinder()? && has_static_unwinder() {
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
    Ok(())
}

/// Whether this target's programs would load `libgcc_s.so.1`. All that is wanted of it is its
/// unwinder, but it finds out at each start what the processor can do, by an instruction that a
/// hypervisor has to emulate (CPUID): in a virtual machine that takes as long as all of the
/// program's relocations.
fn links_shared_unwinder() -> Result<bool> {
    let (os, libc) = (env::var("CARGO_CFG_TARGET_OS")?, env::var("CARGO_CFG_TARGET_ENV")?);
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    Ok(os == "linux" && libc == "gnu" && !is_static)
}

/// Asks the C compiler that links: it answers with a path, or with the name alone if it has none.
fn has_static_unwinder() -> bool {
    let linker = env::var_os("RUSTC_LINKER").unwrap_or_else(|| OsString::from("cc"));
    let answer = Command::new(linker).arg("-print-file-name=libgcc_eh.a").output();
    answer.is_ok_and(|answer| {
        let path = String::from_utf8_lossy(&answer.stdout);
        Path::new(path.trim()).is_absolute()
    })
}
