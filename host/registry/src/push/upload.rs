//! Uploading a blob: in one request, and after a cut from where the registry has it.
//!
//! ```text
//! POST uploads/?mount=DIGEST&from=REPOSITORY     201: it is there      202: Location
//! PUT Location?digest=DIGEST   all of it         201: it is there
//!   after a cut:
//! GET Location                                   204: Range, as far as it came
//! PATCH Location               the rest          202: Location
//! PUT Location?digest=DIGEST                     201: it is there
//! ```

use std::io::{self, Read, Seek as _, SeekFrom};

use silo_layers::Digest;
use ureq::{
    Body,
    http::{Response, Uri, header},
};

use super::Transfer;
use crate::{
    Arrival, Error, OnProgress, Progress, Result,
    http::{Payload, Request, header_of, public},
    stop::Stop,
};

/// Bytes between two notes of progress.
const STEP: u64 = 1 << 20;

/// An upload that has begun.
struct Upload {
    location: String,
    /// Bytes that the registry has.
    offset: u64,
}

impl Transfer<'_> {
    /// Has the registry take a blob from another of its repositories, or sends it.
    pub(super) fn upload(&self, blob: Digest, size: u64) -> Result<Arrival> {
        if self.mount(blob)? {
            return Ok(Arrival::Mounted);
        }
        let mut retries = self.repository.retries();
        let mut upload: Option<Upload> = None;
        loop {
            let current = match upload.take() {
                Some(upload) => upload,
                None => self.begin()?,
            };
            let before = current.offset;
            let error = match self.send(blob, size, &current) {
                Ok(()) => return Ok(Arrival::Sent),
                Err(error) if error.may_pass() || is_damage(&error) => error,
                Err(error) => return Err(error),
            };
            if !retries.again(None)? {
                return Err(error);
            }
            // The answer alone may have been lost.
            if self.has_blob(blob)? {
                return Ok(Arrival::Sent);
            }
            upload = if is_damage(&error) { None } else { self.resume(current, size) };
            if upload.as_ref().is_some_and(|upload| upload.offset > before) {
                retries.reset();
            }
        }
    }

    /// Tries the other repositories that may have the blob. Not to be let in there is no failure.
    fn mount(&self, blob: Digest) -> Result<bool> {
        for other in self.elsewhere.get(&blob).into_iter().flatten() {
            let path = format!("blobs/uploads/?mount={blob}&from={other}");
            let request = Request::new("POST", self.repository.url(&path)?);
            match self.repository.call_with(&request, other, &[400, 404, 405]) {
                Ok(response) if response.status().as_u16() == 201 => return Ok(true),
                Ok(response) => self.cancel(&response),
                Err(Error::Denied { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// An upload that a registry began as it could not mount is of no use.
    fn cancel(&self, response: &Response<Body>) {
        let Some(location) = header_of(response, "location") else { return };
        let Ok(url) = self.absolute(location) else { return };
        // What fails here the registry clears away in time.
        let _ = self.repository.call(&Request::new("DELETE", url).once(), &[400, 404, 405]);
    }

    fn begin(&self) -> Result<Upload> {
        let request = Request::new("POST", self.repository.url("blobs/uploads/")?);
        let response = self.repository.call(&request, &[])?;
        Ok(Upload { location: self.location(&response, &request.url)?, offset: 0 })
    }

    /// Where an upload goes on, if the registry still knows of it and has anything.
    fn resume(&self, upload: Upload, size: u64) -> Option<Upload> {
        let request = Request::new("GET", upload.location.clone());
        let Ok(response) = self.repository.call(&request, &[404, 405]) else { return None };
        let end = header_of(&response, "range").and_then(|range| {
            range.trim_start_matches("bytes=").strip_prefix("0-")?.trim().parse::<u64>().ok()
        });
        let end = end.filter(|end| response.status().is_success() && (1..size).contains(end))?;
        let location = self.location(&response, &upload.location).unwrap_or(upload.location);
        Some(Upload { location, offset: end + 1 })
    }

    fn send(&self, blob: Digest, size: u64, upload: &Upload) -> Result<()> {
        if upload.offset == 0 {
            let open = || self.open(blob, 0);
            return self.finish(blob, &upload.location, Payload::Stream(size, &open));
        }
        let (from, rest) = (upload.offset, size - upload.offset);
        let mut location = upload.location.clone();
        if rest > 0 {
            let open = || self.open(blob, from);
            let request = Request::new("PATCH", location.clone())
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .header(header::CONTENT_RANGE, format!("{from}-{}", size - 1))
                .payload(Payload::Stream(rest, &open))
                .once();
            let response = self.repository.call(&request, &[])?;
            location = self.location(&response, &location)?;
        }
        self.finish(blob, &location, Payload::None)
    }

    /// Ends an upload, with all of the blob or without any.
    fn finish(&self, blob: Digest, location: &str, payload: Payload<'_>) -> Result<()> {
        let joint = if location.contains('?') { '&' } else { '?' };
        let request = Request::new("PUT", format!("{location}{joint}digest={blob}"))
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .payload(payload)
            .once();
        self.repository.call(&request, &[]).map(drop)
    }

    /// The blob from `offset` on.
    fn open(&self, blob: Digest, offset: u64) -> Result<Box<dyn Read + '_>> {
        let mut file = self.outgoing.blob(blob, "the image")?;
        file.seek(SeekFrom::Start(offset))
            .map_err(|source| silo_layers::Error::Read { what: format!("blob {blob}"), source })?;
        Ok(Box::new(Watched {
            file,
            blob,
            done: offset,
            told: offset,
            progress: self.progress,
            stop: self.repository.registry.http.stop(),
        }))
    }

    /// Where an answer says that the upload goes on.
    fn location(&self, response: &Response<Body>, asked: &str) -> Result<String> {
        let location = header_of(response, "location").ok_or_else(|| Error::NotARegistry {
            url: public(asked),
            reason: "it does not say where an upload goes on".to_owned(),
        })?;
        self.absolute(location)
    }

    /// An address that may lack the registry's own beginning.
    fn absolute(&self, location: &str) -> Result<String> {
        if location.contains("://") {
            return Ok(location.to_owned());
        }
        let base = self.repository.url("")?;
        let wrong = || Error::NotARegistry {
            url: public(location),
            reason: "it is no address of an upload".to_owned(),
        };
        let uri: Uri = base.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().ok_or_else(wrong)?;
        let host = uri.authority().ok_or_else(wrong)?;
        Ok(format!("{scheme}://{host}/{}", location.trim_start_matches('/')))
    }
}

/// Whether the registry got something else than was sent, or less.
fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Status { status: 400 | 404 | 416, .. })
}

/// A blob that tells how far it was read.
struct Watched<'a> {
    file: std::fs::File,
    blob: Digest,
    done: u64,
    told: u64,
    progress: OnProgress<'a>,
    stop: &'a Stop,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check().map_err(io::Error::other)?;
        let count = self.file.read(buffer)?;
        self.done += count as u64;
        if self.done >= self.told + STEP {
            self.told = self.done;
            (self.progress)(Progress::Advanced { blob: self.blob, done: self.done });
        }
        Ok(count)
    }
}
