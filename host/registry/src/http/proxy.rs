//! Proxies on the way to a registry.

use ureq::{Proxy, ProxyProtocol};

use crate::{Error, Proxies, Result};

/// Reached directly, whatever is configured, as Go's HTTP client does.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The proxy for registries that are reached by `tls`, or not.
pub(super) fn of(proxies: &Proxies, tls: bool) -> Result<Option<Proxy>> {
    let address = if tls { &proxies.https } else { &proxies.http };
    let Some(address) = address else { return Ok(None) };
    let proxy = Proxy::new(address).map_err(|_| Error::Proxy)?;
    if !matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https) {
        return Err(Error::Proxy);
    }
    let mut builder = Proxy::builder(proxy.protocol()).host(proxy.host()).port(proxy.port());
    if let Some(name) = proxy.username() {
        builder = builder.username(name);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    let except = proxies.except.as_deref().unwrap_or_default().split([',', ' ']);
    for host in except.filter(|host| !host.is_empty()).chain(LOOPBACK) {
        builder = builder.no_proxy(host);
    }
    builder.build().map(Some).map_err(|_| Error::Proxy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_hosts_named_are_reached_directly() {
        let proxies = Proxies {
            https: Some("http://me:secret@proxy.example:3128".to_owned()),
            except: Some("a.example,.b.example".to_owned()),
            ..Proxies::default()
        };
        assert!(of(&proxies, false).unwrap().is_none());
        let proxy = of(&proxies, true).unwrap().unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("me"), Some("secret")));
        let direct = |host: &str| proxy.is_no_proxy(&format!("https://{host}/").parse().unwrap());
        for host in ["localhost", "127.0.0.1:5000", "a.example", "x.b.example"] {
            assert!(direct(host), "{host}");
        }
        assert!(!direct("c.example"));
    }

    #[test]
    fn an_address_that_is_none_is_refused_and_never_shown() {
        for address in ["socks5://secret@host:1", "http://", "ftp://secret@x"] {
            let proxies = Proxies { http: Some(address.to_owned()), ..Proxies::default() };
            let error = of(&proxies, false).unwrap_err();
            assert!(!format!("{error}{proxies:?}").contains("secret"));
        }
    }
}
