//! A blob as it comes from a registry, however often the connection breaks.

use std::io::{self, Read};

use silo_layers::Digest;
use ureq::{
    Body, BodyReader,
    http::{Response, header},
};

use crate::{
    Error, Result,
    http::{Request, failure, header_of},
    repository::Repository,
    retry::Retries,
};

/// Reads a blob. After a cut it goes on where it was, as long as there is headway. What it failed
/// with is kept, as readers' errors don't reach whoever reads through others.
pub(crate) struct Blob<'a> {
    repository: &'a Repository<'a>,
    request: Request<'a>,
    digest: Digest,
    size: u64,
    done: u64,
    body: Option<BodyReader<'static>>,
    retries: Retries<'a>,
    failed: Option<Error>,
}

impl<'a> Blob<'a> {
    pub(crate) fn new(repository: &'a Repository<'a>, digest: Digest, size: u64) -> Result<Self> {
        let request = Request::new("GET", repository.url(&format!("blobs/{digest}"))?);
        let retries = repository.retries();
        Ok(Self { repository, request, digest, size, done: 0, body: None, retries, failed: None })
    }

    /// What reading failed with.
    pub(crate) fn into_failure(self) -> Option<Error> {
        self.failed
    }

    /// Asks for the rest of the blob.
    fn open(&mut self) -> Result<BodyReader<'static>> {
        let url = self.request.url.clone();
        let mut request = Request::new("GET", url);
        if self.done > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.done));
        }
        let response = self.repository.call(&request, &[404])?;
        let status = response.status().as_u16();
        if status == 404 {
            let Repository { registry, path, .. } = self.repository;
            let what = format!("the image in {}/{path}", registry.name);
            return Err(silo_layers::Error::MissingBlob { what, digest: self.digest }.into());
        }
        let from = if status == 206 { self.range_start(&response)? } else { 0 };
        let mut body = response.into_body().into_reader();
        // A registry that knows no ranges begins anew.
        let skip = self.done - from;
        let skipped = io::copy(&mut (&mut body).take(skip), &mut io::sink());
        match skipped {
            Ok(count) if count == skip => Ok(body),
            Ok(_) => Err(self.cut(io::ErrorKind::UnexpectedEof.into())),
            Err(error) => Err(self.cut(error)),
        }
    }

    /// Where a part begins, which must not leave anything out.
    fn range_start(&self, response: &Response<Body>) -> Result<u64> {
        let range = header_of(response, "content-range")
            .and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok());
        range.filter(|start| *start <= self.done).ok_or_else(|| Error::NotARegistry {
            url: self.request.url.clone(),
            reason: "it sends another part of the blob than it was asked for".to_owned(),
        })
    }

    /// The error for a connection that broke.
    fn cut(&self, error: io::Error) -> Error {
        failure::of(&self.request, ureq::Error::from(error)).error
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            self.repository.registry.http.stop().check()?;
            if self.done == self.size {
                return self.end();
            }
            let body = if let Some(body) = &mut self.body {
                body
            } else {
                let body = self.open()?;
                self.body.insert(body)
            };
            let rest = usize::try_from(self.size - self.done).unwrap_or(usize::MAX);
            let most = buffer.len().min(rest);
            let error = match body.read(&mut buffer[..most]) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(count) => {
                    self.done += count as u64;
                    self.retries.reset();
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.body = None;
            if !self.retries.again(None)? {
                return Err(self.cut(error));
            }
        }
    }

    /// Reads to the answer's own end: the connection can be used again then.
    fn end(&mut self) -> Result<usize> {
        let more = self.body.take().map(|mut body| body.read(&mut [0]));
        if matches!(more, Some(Ok(1..))) {
            let what = format!("layer {}", self.digest);
            let (expected, found) = (self.size, self.size + 1);
            return Err(silo_layers::Error::SizeMismatch { what, expected, found }.into());
        }
        Ok(0)
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.next(buffer).map_err(|error| {
            self.failed = Some(error);
            io::Error::other("the blob cannot be read")
        })
    }
}
