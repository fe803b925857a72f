//! Platforms: what an image was made for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An operating system, an architecture and perhaps a variant of it, in the OCI
/// image-spec's words: `linux/amd64`, `linux/arm64/v8`, `wasi/wasm`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    /// `GOOS`: `linux`, `wasi`.
    pub os: String,
    /// `GOARCH`: `amd64`, `arm64`, `wasm`.
    pub architecture: String,
    /// For example `v8`; absent in most images.
    pub variant: Option<String>,
}

/// The text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a platform: expected OS/ARCHITECTURE[/VARIANT], such as linux/amd64 or wasi/wasm"
)]
pub struct InvalidPlatform(String);

impl Platform {
    /// The platform `os/architecture`.
    #[must_use]
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Linux on this machine's architecture, whatever operating system this is.
    #[must_use]
    pub fn linux() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self::new("linux", architecture)
    }

    /// WebAssembly with WASI, the name that images carry most often.
    #[must_use]
    pub fn wasi() -> Self {
        Self::new("wasi", "wasm")
    }

    /// Which of an image's platforms is taken where these are `wanted`, the preferred first: one that
    /// is just that before one that will do. With none wanted it is the first.
    #[must_use]
    pub fn choose<'a>(
        available: impl Iterator<Item = &'a Self> + Clone,
        wanted: &[Self],
    ) -> Option<usize> {
        if wanted.is_empty() {
            return available.map(|_| 0).next();
        }
        wanted.iter().find_map(|wanted| {
            let exact = available.clone().position(|platform| platform == wanted);
            exact.or_else(|| available.clone().position(|platform| platform.satisfies(wanted)))
        })
    }

    /// Whether this is WebAssembly with WASI, of any version.
    fn is_wasi(&self) -> bool {
        matches!(self.os.as_str(), "wasi" | "wasip1" | "wasip2")
            && matches!(self.architecture.as_str(), "wasm" | "wasm32")
    }

    /// Whether an image made for `self` runs where `wanted` is asked for: the same
    /// operating system and architecture, and the same variant where both name one. `wasi` means
    /// every version of WASI, and `wasm32` is `wasm` by another name.
    #[must_use]
    pub fn satisfies(&self, wanted: &Self) -> bool {
        if self.is_wasi() && wanted.is_wasi() {
            return wanted.os == "wasi" || self.os == wanted.os;
        }
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && match (&self.variant, &wanted.variant) {
                (Some(have), Some(want)) => have == want,
                _ => true,
            }
    }
}

impl From<&oci_spec::image::Platform> for Platform {
    fn from(platform: &oci_spec::image::Platform) -> Self {
        Self {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone().filter(|variant| !variant.is_empty()),
        }
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let [os, architecture, variant @ ..] = parts.as_slice() else {
            return Err(InvalidPlatform(text.to_owned()));
        };
        if variant.len() > 1 || !parts.iter().all(word) {
            return Err(InvalidPlatform(text.to_owned()));
        }
        let variant = variant.first().map(|&variant| variant.to_owned());
        Ok(Self { variant, ..Self::new(os, architecture) })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl TryFrom<String> for Platform {
    type Error = InvalidPlatform;

    fn try_from(text: String) -> Result<Self, InvalidPlatform> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn a_platform_is_written_as_it_was_read() {
        for text in ["linux/amd64", "linux/arm64/v8", "wasi/wasm"] {
            assert_eq!(platform(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_platform_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "linux/amd64/"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_variant_matters_only_where_both_name_one() {
        assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
        assert!(platform("linux/arm64").satisfies(&platform("linux/arm64/v8")));
        assert!(!platform("linux/arm/v6").satisfies(&platform("linux/arm/v7")));
        assert!(!platform("wasi/wasm").satisfies(&platform("linux/amd64")));
    }

    #[test]
    fn the_platform_wanted_most_is_taken_and_what_is_just_that_first() {
        let available = ["wasip1/wasm", "linux/arm64/v8", "wasi/wasm"].map(platform);
        let choose = |wanted: &[&str]| {
            let wanted: Vec<_> = wanted.iter().map(|text| platform(text)).collect();
            Platform::choose(available.iter(), &wanted)
        };
        assert_eq!(choose(&["wasi/wasm"]), Some(2));
        assert_eq!(choose(&["linux/amd64", "linux/arm64", "wasi/wasm"]), Some(1));
        assert_eq!(choose(&["wasip2/wasm"]), None);
        assert_eq!(choose(&[]), Some(0));
        assert_eq!(Platform::choose([].iter(), &[]), None);
    }

    #[test]
    fn wasi_means_every_version_and_a_version_only_itself() {
        for image in ["wasi/wasm", "wasi/wasm32", "wasip1/wasm", "wasip2/wasm"] {
            assert!(platform(image).satisfies(&platform("wasi/wasm")), "{image}");
            assert!(platform(image).satisfies(&platform("wasi/wasm32")), "{image}");
            assert!(platform(image).satisfies(&platform(image)), "{image}");
        }
        assert!(!platform("wasip1/wasm").satisfies(&platform("wasip2/wasm")));
        assert!(!platform("wasi/wasm").satisfies(&platform("wasip1/wasm")));
        assert!(!platform("js/wasm").satisfies(&platform("wasi/wasm")));
    }
}
