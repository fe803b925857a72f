//! Tokens, from the server that a registry names.

use serde::Deserialize;
use ureq::http::{Uri, header};

use super::{Credentials, challenge::Challenge};
use crate::{
    Error, Result,
    endpoint::is_loopback,
    error::shown,
    http::{self, Http, Payload, Request},
    repository::retry_after,
    retry::Retries,
};

/// What the token server calls this program.
const CLIENT_ID: &str = "silo";

/// What a token is asked for.
pub(super) struct Asked<'a> {
    pub(super) challenge: &'a Challenge,
    pub(super) scope: &'a str,
    pub(super) registry: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Asked<'_> {
    /// Asks; `None` if the server gives none to who asks.
    pub(super) fn fetch(
        &self,
        http: &Http,
        credentials: Option<&Credentials>,
    ) -> Result<Option<String>> {
        let realm = self.challenge.parameter("realm").unwrap_or_default();
        let uri: Uri = realm.parse().map_err(|_| self.wrong("the realm is no address"))?;
        if credentials.is_some() && !is_private(&uri) {
            return Err(self.wrong("it would have the credentials sent without TLS"));
        }
        let mut form = Vec::new();
        form.extend(self.challenge.parameter("service").map(|service| ("service", service)));
        if let Some(Credentials::Identity(token)) = credentials {
            form.extend([("grant_type", "refresh_token"), ("client_id", CLIENT_ID)]);
            form.extend([("refresh_token", token.as_str()), ("scope", self.scope)]);
            let body = encoded(&form);
            let request = Request::new("POST", realm)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .payload(Payload::Bytes(body.as_bytes()));
            return self.ask(http, &request, None);
        }
        let authorization = credentials.map(Credentials::authorization);
        if let Some(Credentials::Basic { user, .. }) = credentials {
            form.push(("account", user));
        }
        form.extend(self.scope.split(' ').map(|scope| ("scope", scope)));
        let joint = if realm.contains('?') { '&' } else { '?' };
        let request = Request::new("GET", format!("{realm}{joint}{}", encoded(&form)));
        self.ask(http, &request, authorization.as_deref())
    }

    fn ask(
        &self,
        http: &Http,
        request: &Request<'_>,
        authorization: Option<&str>,
    ) -> Result<Option<String>> {
        let mut retries = Retries::new(http.stop());
        let content = loop {
            let failed = match http.send(request, authorization) {
                Ok(response) => match response.status().as_u16() {
                    200 => match http::document(request, response) {
                        Ok(content) => break content,
                        Err(failed) => failed,
                    },
                    400 | 401 | 403 => return Ok(None),
                    429 | 500..=599 if retries.again(retry_after(&response))? => continue,
                    _ => return Err(http::refused(request, response)),
                },
                Err(failed) => failed,
            };
            if !failed.passing || !retries.again(None)? {
                return Err(failed.error);
            }
        };
        let answer: Answer = serde_json::from_slice(&content)
            .map_err(|_| self.wrong("the answer of its token server is not JSON with a token"))?;
        let token = answer.token.or(answer.access_token).filter(|token| is_token(token));
        token.map(Some).ok_or_else(|| self.wrong("its token server gives no token"))
    }

    fn wrong(&self, reason: &str) -> Error {
        let url = shown(self.challenge.parameter("realm").unwrap_or(self.registry));
        Error::NotARegistry { url: http::public(&url), reason: reason.to_owned() }
    }
}

/// Whether nobody on the way learns what is sent there.
fn is_private(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https") || uri.authority().is_some_and(|at| is_loopback(at.as_str()))
}

/// `b64token` of RFC 6750, which fits a header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A query, or a form (`application/x-www-form-urlencoded`).
fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    pairs.join("&")
}

fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Text takes any text.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_escaped_and_empty_fields_left_out() {
        let form =
            encoded(&[("scope", "repository:a/b:pull,push"), ("account", ""), ("x", "a b&ä")]);
        assert_eq!(form, "scope=repository:a/b:pull,push&x=a%20b%26%C3%A4");
    }

    #[test]
    fn credentials_go_by_tls_or_to_this_machine() {
        for (realm, private) in [
            ("https://auth.example/token", true),
            ("http://127.0.0.1:5001/token", true),
            ("http://auth.example/token", false),
        ] {
            assert_eq!(is_private(&realm.parse().unwrap()), private, "{realm}");
        }
    }
}
