//! `ARG`s, and the values that are known without any.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use silo_engine::Engine;
use silo_layers::Platform;

use crate::{
    BuildOptions,
    expand::Variables,
    parse::{Argument, Fault},
};

/// Values that commands see without an `ARG`, and that steps don't depend on.
pub(super) const PROXIES: [&str; 12] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
    "RSYNC_PROXY",
    "rsync_proxy",
];

/// What names mean outside of stages, and what was given.
#[derive(Debug)]
pub(super) struct Arguments {
    given: BTreeMap<String, String>,
    /// Of those that were given, which had a use.
    used: RefCell<BTreeSet<String>>,
    /// `ARG`s before the first stage.
    global: BTreeMap<String, String>,
    /// What is known of platforms and the target.
    known: BTreeMap<String, String>,
}

impl Arguments {
    pub(super) fn new(engine: &Engine, options: &BuildOptions, target: Option<&Platform>) -> Self {
        let own = super::stage::wanted(engine).into_iter().next().unwrap_or_else(Platform::linux);
        let mut known = BTreeMap::new();
        let target = target.unwrap_or(&own);
        for (prefix, platform) in [("BUILD", &own), ("TARGET", target)] {
            let variant = platform.variant.clone().unwrap_or_default();
            known.insert(format!("{prefix}PLATFORM"), platform.to_string());
            known.insert(format!("{prefix}OS"), platform.os.clone());
            known.insert(format!("{prefix}ARCH"), platform.architecture.clone());
            known.insert(format!("{prefix}VARIANT"), variant);
        }
        known.insert(
            "TARGETSTAGE".to_owned(),
            options.target.clone().unwrap_or_else(|| "default".to_owned()),
        );
        Self {
            given: options.arguments.clone(),
            used: RefCell::default(),
            global: BTreeMap::new(),
            known,
        }
    }

    fn given(&self, name: &str) -> Option<String> {
        let value = self.given.get(name).cloned();
        if value.is_some() {
            self.used.borrow_mut().insert(name.to_owned());
        }
        value
    }

    /// What `FROM` sees.
    pub(super) fn globally(&self, name: &str) -> Option<String> {
        self.global.get(name).or_else(|| self.known.get(name)).cloned()
    }

    pub(super) fn declare_globally(
        &mut self,
        arguments: &[Argument],
        escape: char,
    ) -> Result<(), Fault> {
        for argument in arguments {
            let name = argument.name.as_str();
            let value = |name: &str| self.globally(name);
            let default = argument
                .default
                .as_ref()
                .map(|default| Variables { escape, value: &value }.expand(default));
            let default = default.transpose()?;
            if let Some(value) = self.given(name).or(default) {
                self.global.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// The value of an `ARG` of a stage, whose own default is this.
    pub(super) fn declared(&self, name: &str, default: Option<String>) -> Option<String> {
        self.given(name).or(default).or_else(|| self.globally(name))
    }

    /// Proxies that were given: commands see them.
    pub(super) fn proxies(&self) -> Vec<(&'static str, String)> {
        PROXIES.iter().filter_map(|name| Some((*name, self.given(name)?))).collect()
    }

    /// Those that were given and that nothing asked for.
    pub(super) fn unused(&self) -> Vec<String> {
        let used = self.used.borrow();
        let known = |name: &&String| !used.contains(*name) && !PROXIES.contains(&name.as_str());
        self.given.keys().filter(known).cloned().collect()
    }
}
