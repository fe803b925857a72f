//! One registry, and one of its repositories: requests with what it wants to know of who asks, and
//! tried again where that may help.

use std::{sync::OnceLock, time::Duration};

use ureq::{Body, http::Response};

use crate::{
    Error, Result,
    auth::{Auth, challenge},
    endpoint,
    http::{self, Http, Request, header_of},
    retry::Retries,
};

/// A registry.
pub(crate) struct Registry<'a> {
    pub(crate) http: &'a Http,
    /// As names of images have it.
    pub(crate) name: String,
    auth: Auth,
    address: OnceLock<String>,
}

impl<'a> Registry<'a> {
    pub(crate) fn new(http: &'a Http, name: &str, auth: Auth) -> Self {
        Self { http, name: name.to_owned(), auth, address: OnceLock::new() }
    }

    /// An address below its own.
    fn url(&self, path: &str) -> Result<String> {
        let address = if let Some(address) = self.address.get() {
            address
        } else {
            let found = endpoint::find(self.http, &self.name)?;
            self.address.get_or_init(|| found)
        };
        Ok(format!("{address}/v2/{path}"))
    }

    /// Asks whether the registry lets whoever asks in.
    pub(crate) fn greet(&self) -> Result<()> {
        self.call(&Request::new("GET", self.url("")?), "", "the registry", &[]).map(drop)
    }

    /// Asks until there is an answer that is none of a passing failure. One that is neither a success
    /// nor of an `expected` status is an error. `scope` is the right that is needed, `what` it is a
    /// right to.
    fn call(
        &self,
        request: &Request<'_>,
        scope: &str,
        what: &str,
        expected: &[u16],
    ) -> Result<Response<Body>> {
        let mut retries = Retries::new(self.http.stop());
        // Where an upload goes on at another host, that learns nothing of the user.
        let own = self.is_own(&request.url);
        let mut authorization = self.auth.authorization(scope).filter(|_| own);
        let mut answered = !own;
        loop {
            self.http.stop().check()?;
            let response = match self.http.send(request, authorization.as_deref()) {
                Ok(response) => response,
                Err(failed) if failed.passing && request.repeatable && retries.again(None)? => {
                    continue;
                }
                Err(failed) => {
                    self.http.stop().check()?;
                    return Err(failed.error);
                }
            };
            let status = response.status().as_u16();
            if response.status().is_success() || expected.contains(&status) {
                return Ok(response);
            }
            match status {
                401 if !answered => {
                    answered = true;
                    let refused = authorization.as_deref();
                    authorization = self.answer(&response, scope, refused)?;
                    if authorization.is_none() {
                        return Err(self.denied(what, response));
                    }
                }
                401 | 403 => return Err(self.denied(what, response)),
                429 | 500..=599
                    if request.repeatable && retries.again(retry_after(&response))? => {}
                _ => return Err(http::refused(request, response)),
            }
        }
    }

    /// Whether an address is the registry's own.
    fn is_own(&self, url: &str) -> bool {
        let rest = self.address.get().and_then(|address| url.strip_prefix(address.as_str()));
        rest.is_some_and(|rest| rest.starts_with('/'))
    }

    fn answer(
        &self,
        response: &Response<Body>,
        scope: &str,
        refused: Option<&str>,
    ) -> Result<Option<String>> {
        let headers = response.headers().get_all("www-authenticate").iter();
        let texts = headers.filter_map(|value| value.to_str().ok());
        let challenges: Vec<_> = texts.flat_map(challenge::parse).collect();
        self.auth.answer(self.http, &challenges, scope, refused)
    }

    fn denied(&self, what: &str, response: Response<Body>) -> Error {
        Error::Denied {
            registry: self.name.clone(),
            what: what.to_owned(),
            known: self.auth.is_known(),
            said: http::said(response),
        }
    }
}

/// How long the registry asks to be left alone, where it says so in seconds.
pub(crate) fn retry_after(response: &Response<Body>) -> Option<Duration> {
    header_of(response, "retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

/// A repository of a registry.
pub(crate) struct Repository<'a> {
    pub(crate) registry: Registry<'a>,
    /// Its path within the registry.
    pub(crate) path: String,
    /// The right to what is done with it ("Token Scope Documentation").
    scope: String,
}

impl<'a> Repository<'a> {
    /// To pull from, and if so asked to push to.
    pub(crate) fn new(registry: Registry<'a>, path: &str, push: bool) -> Self {
        let actions = if push { "pull,push" } else { "pull" };
        let scope = format!("repository:{path}:{actions}");
        Self { registry, path: path.to_owned(), scope }
    }

    /// An address below its own: `manifests/latest`.
    pub(crate) fn url(&self, path: &str) -> Result<String> {
        self.registry.url(&format!("{}/{path}", self.path))
    }

    /// Asks, as [`Registry::call`] does.
    pub(crate) fn call(&self, request: &Request<'_>, expected: &[u16]) -> Result<Response<Body>> {
        self.registry.call(request, &self.scope, &self.path, expected)
    }

    /// Asks for something that takes the right to pull from another repository as well.
    pub(crate) fn call_with(
        &self,
        request: &Request<'_>,
        other: &str,
        expected: &[u16],
    ) -> Result<Response<Body>> {
        let scope = format!("{} repository:{other}:pull", self.scope);
        self.registry.call(request, &scope, &self.path, expected)
    }

    /// Tries `attempt` as long as what fails may pass and there is headway.
    pub(crate) fn retries(&self) -> Retries<'_> {
        Retries::new(self.registry.http.stop())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, stop::Stop};

    #[test]
    fn other_hosts_learn_nothing_of_the_user() {
        let http = Http::new(Settings::default(), Stop::default());
        let registry = Registry::new(&http, "a.example", Auth::new("a.example", None));
        assert_eq!(registry.url("x").unwrap(), "https://a.example/v2/x");
        assert!(registry.is_own("https://a.example/v2/x"));
        for url in
            ["http://a.example/v2/x", "https://a.example.evil/v2/x", "https://b.example/v2/x"]
        {
            assert!(!registry.is_own(url), "{url}");
        }
    }
}
