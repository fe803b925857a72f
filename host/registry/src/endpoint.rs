//! Where a registry is reached: under which host, with or without TLS.

use crate::{
    Result,
    http::{Failed, Http, Request},
    retry::Retries,
};

/// The host that answers for Docker Hub.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn address(self, host: &str) -> String {
        let scheme = match self {
            Self::Http => "http",
            Self::Https => "https",
        };
        format!("{scheme}://{host}")
    }
}

/// Whether a registry, `HOST[:PORT]`, is this machine, by its name.
pub(crate) fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The ways to try, the first that works being taken. On this machine registries mostly do without
/// TLS; elsewhere none does unless the user says so.
fn ways(registry: &str, insecure: bool) -> &'static [Scheme] {
    match (is_loopback(registry), insecure) {
        (true, _) => &[Scheme::Http, Scheme::Https],
        (false, true) => &[Scheme::Https, Scheme::Http],
        (false, false) => &[Scheme::Https],
    }
}

/// The address of a registry, `https://HOST`.
pub(crate) fn find(http: &Http, registry: &str) -> Result<String> {
    let host = if registry == "docker.io" { DOCKER_HUB } else { registry };
    let ways = ways(registry, http.settings().insecure);
    if let [only] = ways {
        return Ok(only.address(host));
    }
    let mut retries = Retries::new(http.stop());
    loop {
        let mut failed = None;
        for way in ways {
            match probe(http, *way, host) {
                Ok(true) => return Ok(way.address(host)),
                Ok(false) => {}
                // The first that says something else than that the other way is right.
                Err(other) if other.not_tls => {}
                Err(other) if !other.passing => return Err(other.error),
                Err(other) => failed = failed.or(Some(other.error)),
            }
        }
        if !retries.again(None)? {
            let unclear = || crate::Error::NotARegistry {
                url: ways[0].address(host),
                reason: "it takes neither HTTP nor TLS".to_owned(),
            };
            return Err(failed.unwrap_or_else(unclear));
        }
    }
}

/// Whether the registry answers when it is spoken to so. Who expects TLS calls plain HTTP a bad
/// request.
fn probe(http: &Http, scheme: Scheme, host: &str) -> Result<bool, Failed> {
    let request = Request::new("GET", format!("{}/v2/", scheme.address(host)));
    let response = http.send(&request, None)?;
    Ok(scheme == Scheme::Https || response.status().as_u16() != 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for name in ["localhost", "localhost:5000", "127.0.0.1", "127.1.2.3:80", "[::1]:5000"] {
            assert!(is_loopback(name), "{name}");
        }
        for name in ["docker.io", "localhost.example", "10.0.0.1:5000", "[2001:db8::1]:80", ""] {
            assert!(!is_loopback(name), "{name}");
        }
    }

    #[test]
    fn other_machines_are_reached_by_tls_unless_it_is_waived() {
        assert_eq!(ways("registry.example", false), [Scheme::Https]);
        assert_eq!(ways("registry.example", true), [Scheme::Https, Scheme::Http]);
        assert_eq!(ways("localhost:5000", false), [Scheme::Http, Scheme::Https]);
    }
}
