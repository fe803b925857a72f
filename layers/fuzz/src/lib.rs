//! What the fuzz targets share: with the feature `engine` they are libFuzzer's, without it programs
//! that take files, so that a finding can be looked at, and the targets compiled, on any machine.

#[cfg(feature = "engine")]
pub use libfuzzer_sys;

/// A target: a function of bytes.
#[cfg(feature = "engine")]
#[macro_export]
macro_rules! target {
    ($function:expr) => {
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $function(bytes));
    };
}

/// A target: a function of bytes, which here come from the files that are given.
#[cfg(not(feature = "engine"))]
#[macro_export]
macro_rules! target {
    ($function:expr) => {
        fn main() -> std::io::Result<()> {
            for path in std::env::args_os().skip(1) {
                $function(&std::fs::read(path)?);
            }
            Ok(())
        }
    };
}
