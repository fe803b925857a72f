//! Which backend runs an image: chosen once, from the image's platform, before anything is
//! created. Never by trial.

use std::sync::Arc;

use silo_isolation::IsolationBackend;
use silo_layers::Platform;

use crate::{Error, Result};

/// The backends that may be chosen, and what they run.
pub(crate) struct Route {
    candidates: Vec<Arc<dyn IsolationBackend>>,
    /// The platforms to look for in an image, the preferred first.
    pub(crate) wanted: Vec<Platform>,
}

impl Route {
    /// What `--platform` and `--backend` leave of `backends`.
    pub(crate) fn plan(
        backends: &[Arc<dyn IsolationBackend>],
        platform: Option<&Platform>,
        backend: Option<&str>,
    ) -> Result<Self> {
        let candidates = match backend {
            Some(name) => vec![crate::backend(backends, name)?],
            None => backends.to_vec(),
        };
        let Some(platform) = platform else {
            let wanted = candidates.iter().flat_map(|backend| backend.platforms()).collect();
            return Ok(Self { candidates, wanted });
        };
        let wanted = vec![platform.clone()];
        let route = Self { candidates, wanted };
        route.choose(platform)?;
        Ok(route)
    }

    /// The backend for an image made for `platform`.
    pub(crate) fn choose(&self, platform: &Platform) -> Result<Arc<dyn IsolationBackend>> {
        let runs = |backend: &&Arc<dyn IsolationBackend>| {
            let mut platforms = backend.platforms().into_iter();
            platforms.any(|runs| platform.satisfies(&runs))
        };
        self.candidates.iter().find(runs).cloned().ok_or_else(|| match self.candidates.as_slice() {
            [only] => Error::BackendPlatform {
                backend: only.name().to_owned(),
                platform: platform.clone(),
                runs: only.platforms(),
            },
            several => Error::NoBackend {
                platform: platform.clone(),
                available: several.iter().map(|backend| describe(&**backend)).collect(),
            },
        })
    }
}

/// `linux (linux/amd64, linux/386)`
fn describe(backend: &dyn IsolationBackend) -> String {
    let platforms: Vec<_> = backend.platforms().iter().map(ToString::to_string).collect();
    format!("{} ({})", backend.name(), platforms.join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use silo_isolation::{Barrier, Bundle, Refusal, Result as BackendResult, Sandbox, Stdio};

    use super::*;

    struct Named(&'static str, &'static [&'static str]);

    impl IsolationBackend for Named {
        fn name(&self) -> &'static str {
            self.0
        }
        fn platforms(&self) -> Vec<Platform> {
            self.1.iter().map(|text| text.parse().unwrap()).collect()
        }
        fn barriers(&self) -> Vec<Barrier> {
            vec![]
        }
        fn admit(&self, _: &Bundle) -> Vec<Refusal> {
            vec![]
        }
        fn create(&self, _: &Bundle, _: Stdio) -> BackendResult<Box<dyn Sandbox>> {
            Err(silo_isolation::Error::WrongState { state: "not made" })
        }
        fn reclaim(&self, _: &str, _: &Path) -> BackendResult<()> {
            Ok(())
        }
    }

    fn backends() -> Vec<Arc<dyn IsolationBackend>> {
        vec![
            Arc::new(Named("native", &["linux/amd64"])),
            Arc::new(Named("portable", &["wasi/wasm", "wasip1/wasm"])),
        ]
    }

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn without_a_wish_every_backend_is_asked_for_in_order() {
        let route = Route::plan(&backends(), None, None).unwrap();
        let wanted: Vec<_> = route.wanted.iter().map(ToString::to_string).collect();
        assert_eq!(wanted, ["linux/amd64", "wasi/wasm", "wasip1/wasm"]);
        assert_eq!(route.choose(&platform("wasip1/wasm")).unwrap().name(), "portable");
    }

    #[test]
    fn a_backend_narrows_the_platforms() {
        let route = Route::plan(&backends(), None, Some("portable")).unwrap();
        assert_eq!(route.wanted, [platform("wasi/wasm"), platform("wasip1/wasm")]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_there_is() {
        let refused = |platform: Option<&Platform>, backend| {
            let error = Route::plan(&backends(), platform, backend).err().unwrap();
            format!("{error}; {}", error.hint().unwrap())
        };
        assert_eq!(
            refused(None, Some("vm")),
            "no backend `vm` on this host; there is native, portable"
        );
        assert_eq!(
            refused(Some(&platform("wasi/wasm")), Some("native")),
            "backend `native` does not run wasi/wasm images; it runs linux/amd64"
        );
        assert_eq!(
            refused(Some(&platform("windows/amd64")), None),
            "no backend on this host runs windows/amd64 images; \
             there is native (linux/amd64), portable (wasi/wasm, wasip1/wasm)"
        );
    }
}
