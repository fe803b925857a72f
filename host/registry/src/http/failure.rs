//! How asking fails, and whether it may pass.

use std::io;

use super::{Request, UnknownHost, public};
use crate::Error;

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Whether another attempt may succeed.
    pub(crate) passing: bool,
    /// Whether the other side speaks something else than TLS.
    pub(crate) not_tls: bool,
}

impl Failed {
    pub(crate) fn lasting(error: Error) -> Self {
        Self { error, passing: false, not_tls: false }
    }

    fn passing(error: Error) -> Self {
        Self { error, passing: true, not_tls: false }
    }
}

/// What became of a request, by the HTTP client's error.
pub(crate) fn of(request: &Request<'_>, error: ureq::Error) -> Failed {
    let (verb, url) = (request.verb, public(&request.url));
    let transport = |source| Error::Transport { verb, url: url.clone(), source };
    match error {
        ureq::Error::Io(error) => of_io(verb, url, error),
        ureq::Error::Rustls(source) => of_tls(url, source),
        ureq::Error::Other(other) => match other.downcast::<UnknownHost>() {
            Ok(unknown) => Failed::lasting(Error::UnknownHost { url, source: unknown.0 }),
            Err(other) => Failed::lasting(transport(other)),
        },
        error @ (ureq::Error::Timeout(_)
        | ureq::Error::Protocol(_)
        | ureq::Error::BodyStalled
        | ureq::Error::ConnectionFailed) => Failed::passing(transport(Box::new(Told(error)))),
        error => Failed::lasting(transport(Box::new(Told(error)))),
    }
}

fn of_io(verb: &'static str, url: String, error: io::Error) -> Failed {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable,
    };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(error) = inner {
        return of_tls(url, error.clone());
    }
    if error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).is_some() {
        // Of whoever gave what was to be sent.
        return match error.downcast::<Error>() {
            Ok(error) => Failed::lasting(error),
            Err(source) => Failed::lasting(Error::Connect { url, source }),
        };
    }
    match error.kind() {
        ConnectionRefused | HostUnreachable | NetworkUnreachable | NetworkDown
        | AddrNotAvailable => Failed::lasting(Error::Connect { url, source: error }),
        _ => Failed::passing(Error::Transport { verb, url, source: Box::new(error) }),
    }
}

/// A certificate stays wrong; a damaged message may come whole the next time.
fn of_tls(url: String, source: rustls::Error) -> Failed {
    let not_tls = matches!(source, rustls::Error::InvalidMessage(_));
    let lasting = matches!(
        source,
        rustls::Error::InvalidCertificate(_)
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::UnsupportedNameType
    );
    Failed { error: Error::Tls { url, source }, passing: !lasting, not_tls }
}

/// The HTTP client's error without the word for its kind that it puts first.
#[derive(Debug)]
struct Told(ureq::Error);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            ureq::Error::Timeout(_) => f.write_str("the other side is silent for too long"),
            ureq::Error::Protocol(error) => write!(f, "what came is not HTTP: {error}"),
            error => error.fmt(f),
        }
    }
}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
