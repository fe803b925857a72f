//! HTTP: who speaks it, what is asked, and what comes back.

pub(crate) mod failure;
mod proxy;
mod tls;

use std::{io::Read, sync::OnceLock, time::Duration};

use ureq::{
    Agent, Body, SendBody,
    config::AutoHeaderValue,
    http::{Response, Uri, header},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

pub(crate) use failure::Failed;

use crate::{Error, Result, Settings, stop::Stop};

/// Nobody waits longer for a connection, nor for the next bytes of one.
const CONNECT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_mins(1);
/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;
/// The longest answer that is read into memory, as of a manifest, in bytes.
const DOCUMENT_MAX: u64 = 16 << 20;

/// What is asked of a server.
pub(crate) struct Request<'a> {
    pub(crate) verb: &'static str,
    pub(crate) url: String,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) payload: Payload<'a>,
    /// Whether it may be repeated as it stands.
    pub(crate) repeatable: bool,
}

/// What goes with a request. A stream can be had again, for another attempt.
pub(crate) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    Stream(u64, &'a dyn Fn() -> Result<Box<dyn Read + 'a>>),
}

impl<'a> Request<'a> {
    pub(crate) fn new(verb: &'static str, url: impl Into<String>) -> Self {
        let (headers, payload) = (Vec::new(), Payload::None);
        Self { verb, url: url.into(), headers, payload, repeatable: true }
    }

    pub(crate) fn header(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn payload(self, payload: Payload<'a>) -> Self {
        Self { payload, ..self }
    }

    /// It is up to the caller what to do when it fails.
    pub(crate) fn once(self) -> Self {
        Self { repeatable: false, ..self }
    }
}

/// Who asks. What TLS needs is made when the first request needs it.
pub(crate) struct Http {
    settings: Settings,
    stop: Stop,
    plain: OnceLock<Agent>,
    tls: OnceLock<Agent>,
}

impl Http {
    pub(crate) fn new(settings: Settings, stop: Stop) -> Self {
        Self { settings, stop, plain: OnceLock::new(), tls: OnceLock::new() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    fn agent(&self, tls: bool) -> Result<&Agent> {
        let place = if tls { &self.tls } else { &self.plain };
        if let Some(agent) = place.get() {
            return Ok(agent);
        }
        // What another thread has made meanwhile does as well.
        let agent = self.new_agent(tls)?;
        Ok(place.get_or_init(|| agent))
    }

    fn new_agent(&self, tls: bool) -> Result<Agent> {
        let settings = &self.settings;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(tls && !settings.insecure)
            .proxy(proxy::of(&settings.proxies, tls)?)
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            // Blobs are stored as they come.
            .accept_encoding(AutoHeaderValue::None)
            .user_agent(settings.user_agent.as_str())
            .tls_config(if tls { tls::config(settings)? } else { tls::nobody() });
        let agent = Agent::with_parts(config.build(), DefaultConnector::default(), Lookup);
        self.stop.include(&agent);
        self.stop.check()?;
        Ok(agent)
    }

    /// Asks once.
    pub(crate) fn send(
        &self,
        request: &Request<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, Failed> {
        let agent = self.agent(request.url.starts_with("https:")).map_err(Failed::lasting)?;
        let mut builder = ureq::http::Request::builder().method(request.verb).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(authorization) = authorization {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        let unsendable = |error| failure::of(request, ureq::Error::Http(error));
        let sent = match &request.payload {
            Payload::None if matches!(request.verb, "POST" | "PUT") => {
                agent.run(builder.body(&[][..]).map_err(unsendable)?)
            }
            Payload::None => agent.run(builder.body(()).map_err(unsendable)?),
            Payload::Bytes(bytes) => agent.run(builder.body(*bytes).map_err(unsendable)?),
            Payload::Stream(size, open) => {
                let mut stream = open().map_err(Failed::lasting)?;
                let builder = builder.header(header::CONTENT_LENGTH, *size);
                let body = SendBody::from_reader(&mut stream);
                agent.run(builder.body(body).map_err(unsendable)?)
            }
        };
        sent.map_err(|error| failure::of(request, error))
    }
}

/// Reads an answer that is a document.
pub(crate) fn document(request: &Request<'_>, response: Response<Body>) -> Result<Vec<u8>, Failed> {
    let body = response.into_body();
    let expected = body.content_length();
    let read = body.into_with_config().limit(DOCUMENT_MAX).read_to_vec();
    let content = read.map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => Failed::lasting(
            silo_layers::Error::TooLong { what: format!("`{}`", request.url), limit: DOCUMENT_MAX }
                .into(),
        ),
        error => failure::of(request, error),
    })?;
    if expected.is_some_and(|expected| expected != content.len() as u64) {
        let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        return Err(failure::of(request, ureq::Error::Io(cut)));
    }
    Ok(content)
}

/// A header's value, if it is text.
pub(crate) fn header_of<'a, B>(response: &'a Response<B>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The resolver of the system, whose failures are told from others.
#[derive(Debug)]
struct Lookup;

/// The host has no address.
#[derive(Debug, thiserror::Error)]
#[error("unknown host")]
pub(crate) struct UnknownHost(#[source] pub(crate) std::io::Error);

impl Resolver for Lookup {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        DefaultResolver::default().resolve(uri, config, timeout).map_err(|error| match error {
            ureq::Error::Io(error) => ureq::Error::Other(Box::new(UnknownHost(error))),
            ureq::Error::HostNotFound => {
                let none = std::io::Error::other("it has no address");
                ureq::Error::Other(Box::new(UnknownHost(none)))
            }
            error => error,
        })
    }
}

/// The error for an answer that is a failure.
pub(crate) fn refused(request: &Request<'_>, response: Response<Body>) -> Error {
    let status = response.status().as_u16();
    Error::Status { verb: request.verb, url: public(&request.url), status, said: said(response) }
}

/// What a registry says of a failure (distribution-spec, "Error Codes"), as far as it is to be had.
pub(crate) fn said(mut response: Response<Body>) -> String {
    const LONGEST: u64 = 64 << 10;
    let body = response.body_mut().with_config().limit(LONGEST).read_to_vec().unwrap_or_default();
    serde_json::from_slice(&body).ok().and_then(|value| said_in(&value)).unwrap_or_default()
}

fn said_in(value: &serde_json::Value) -> Option<String> {
    let first = value.get("errors")?.get(0)?;
    let text = |key: &str| first.get(key)?.as_str().filter(|text| !text.is_empty());
    text("message").or_else(|| text("code")).map(crate::error::shown)
}

/// An address without its query, which may hold a signature that lets whoever has it in.
pub(crate) fn public(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}
