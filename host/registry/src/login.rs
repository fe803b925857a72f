//! Logging in to registries, and out.

use crate::{
    Client, Result,
    auth::{Auth, Config, Credentials},
    repository::Registry,
};

impl Client {
    /// Shows a registry who the user is, and keeps that for later if it is accepted: in the helper
    /// that Docker's configuration names, or in its file. Returns which of them it was.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`](crate::Error::Denied) if it is not accepted.
    pub fn login(&self, registry: &str, user: &str, secret: &str) -> Result<Option<String>> {
        let credentials = Credentials::Basic { user: user.to_owned(), secret: secret.to_owned() };
        let auth = Auth::with(registry, credentials);
        Registry::new(&self.http, registry, auth).greet()?;
        self.check()?;
        let path = self.http.settings().credentials.as_ref();
        path.map(|path| Config::open(path)?.keep(registry, user, secret)).transpose()
    }

    /// Forgets who the user is at a registry. `false` if that was not known.
    pub fn logout(&self, registry: &str) -> Result<bool> {
        match &self.http.settings().credentials {
            Some(path) => Config::open(path)?.forget(registry),
            None => Ok(false),
        }
    }
}
