//! Who pulls and pushes.

use silo_layers::Reference;

use crate::{
    Result, Settings, Stop,
    auth::Auth,
    http::Http,
    repository::{Registry, Repository},
};

/// A client of registries. Making one costs nothing; connections are made as they are needed.
pub struct Client {
    pub(crate) http: Http,
}

impl Client {
    /// A client that is told these things.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { http: Http::new(settings, Stop::default()) }
    }

    /// What stops it.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.http.stop().clone()
    }

    pub(crate) fn registry<'a>(&'a self, name: &str) -> Registry<'a> {
        let auth = Auth::new(name, self.http.settings().credentials.clone());
        Registry::new(&self.http, name, auth)
    }

    pub(crate) fn repository<'a>(&'a self, of: &Reference, push: bool) -> Repository<'a> {
        Repository::new(self.registry(of.registry()), of.path(), push)
    }

    /// Fails if the client was stopped.
    pub(crate) fn check(&self) -> Result<()> {
        self.http.stop().check()
    }
}
