//! A container's log: Docker's json-file format, one entry a line.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::{Error, LogEntry, LogOptions, Result, Stream};

/// The most of a line that one entry holds, as in Docker.
const LONGEST_ENTRY: usize = 16 << 10;

/// Appends what a guest writes. The file appears with the first entry.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    file: Option<File>,
    unfinished: [Vec<u8>; 2],
    /// How often it has grown: followers compare.
    pub(crate) generation: u64,
    /// Whether nothing more comes.
    pub(crate) closed: bool,
    error: Option<io::Error>,
}

impl LogWriter {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            unfinished: [Vec::new(), Vec::new()],
            generation: 0,
            closed: false,
            error: None,
        }
    }

    /// Appends what came from `stream`. A line is written when it is whole. The first error
    /// ends the log and is told by [`LogWriter::close`]; the guest goes on.
    pub(crate) fn append(&mut self, stream: Stream, bytes: &[u8]) {
        let mut entries = Vec::new();
        let now = Timestamp::now();
        let unfinished = &mut self.unfinished[stream as usize];
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            for part in piece.chunks(LONGEST_ENTRY) {
                unfinished.extend_from_slice(part);
                if part.ends_with(b"\n") || unfinished.len() >= LONGEST_ENTRY {
                    encode(&mut entries, stream, unfinished, now);
                    unfinished.clear();
                }
            }
        }
        self.write(&entries);
    }

    /// Writes what has no line end yet, and says what went wrong if anything did.
    pub(crate) fn close(&mut self) -> Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let unfinished = std::mem::take(&mut self.unfinished[stream as usize]);
            if !unfinished.is_empty() {
                let mut entry = Vec::new();
                encode(&mut entry, stream, &unfinished, Timestamp::now());
                self.write(&entry);
            }
        }
        self.closed = true;
        self.error.take().map_or(Ok(()), |error| Err(Error::file("write", &self.path)(error)))
    }

    fn write(&mut self, entries: &[u8]) {
        if entries.is_empty() || self.error.is_some() {
            return;
        }
        if let Err(error) = self.open().and_then(|mut file| file.write_all(entries)) {
            self.error = Some(error);
            return;
        }
        self.generation += 1;
    }

    fn open(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            self.file = Some(File::options().append(true).create(true).open(&self.path)?);
        }
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn encode(entries: &mut Vec<u8>, stream: Stream, text: &[u8], time: Timestamp) {
    let log = String::from_utf8_lossy(text).into_owned();
    serde_json::to_writer(&mut *entries, &LogEntry { log, stream, time })
        .expect("an entry serialises, and a Vec takes it");
    entries.push(b'\n');
}

/// Reads a log from its beginning, and on where it ended before.
#[derive(Debug)]
pub(crate) struct LogReader {
    path: PathBuf,
    file: Option<BufReader<File>>,
    torn: Vec<u8>,
    options: LogOptions,
}

/// Takes one entry.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(LogEntry) -> io::Result<()>;

impl LogReader {
    pub(crate) fn new(path: &Path, options: LogOptions) -> Self {
        Self { path: path.to_owned(), file: None, torn: Vec::new(), options }
    }

    /// Gives `sink` the entries that are there now, of the first reading only the tail.
    pub(crate) fn first(&mut self, sink: Sink<'_>) -> Result<()> {
        let Some(count) = self.options.tail else { return self.rest(sink) };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut tail = VecDeque::new();
        self.rest(&mut |entry| {
            tail.push_back(entry);
            if tail.len() > count {
                tail.pop_front();
            }
            Ok(())
        })?;
        tail.into_iter().try_for_each(sink).map_err(|source| Error::Output { source })
    }

    /// Gives `sink` what has been added since.
    pub(crate) fn rest(&mut self, sink: Sink<'_>) -> Result<()> {
        let path = &self.path;
        let failed = || Error::file("read", path);
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(BufReader::new(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed()(error)),
            }
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        loop {
            file.read_until(b'\n', &mut self.torn).map_err(failed())?;
            if !self.torn.ends_with(b"\n") {
                // The writer is in the middle of it, or a crash was.
                return Ok(());
            }
            // A line that is none was torn by a crash; those after it are whole.
            if let Ok(entry) = serde_json::from_slice::<LogEntry>(&self.torn)
                && self.options.wants(&entry)
            {
                sink(entry).map_err(|source| Error::Output { source })?;
            }
            self.torn.clear();
        }
    }
}

impl LogOptions {
    fn wants(&self, entry: &LogEntry) -> bool {
        let stream = match entry.stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        stream && self.since.is_none_or(|since| entry.time >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut LogReader, first: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let mut sink = |entry: LogEntry| {
            lines.push(entry.log);
            Ok(())
        };
        if first { reader.first(&mut sink) } else { reader.rest(&mut sink) }.unwrap();
        lines
    }

    #[test]
    fn lines_are_whole_whatever_pieces_they_came_in() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log.json");
        let mut reader = LogReader::new(&path, LogOptions::default());
        assert!(read(&mut reader, true).is_empty());

        let mut log = LogWriter::new(path.clone());
        log.append(Stream::Stdout, b"one\ntw");
        log.append(Stream::Stderr, b"oops\n");
        assert_eq!(read(&mut reader, true), ["one\n", "oops\n"]);
        log.append(Stream::Stdout, b"o\nend");
        log.close().unwrap();
        assert_eq!(read(&mut reader, false), ["two\n", "end"]);

        let options = LogOptions { tail: Some(2), stderr: false, ..LogOptions::default() };
        assert_eq!(read(&mut LogReader::new(&path, options), true), ["two\n", "end"]);
    }

    #[test]
    fn a_long_line_comes_in_pieces_and_a_torn_one_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log.json");
        std::fs::write(&path, "{\"log\":\"torn\n").unwrap();
        let mut log = LogWriter::new(path.clone());
        log.append(Stream::Stdout, &vec![b'x'; LONGEST_ENTRY + 1]);
        log.append(Stream::Stdout, b"\n");
        let lines = read(&mut LogReader::new(&path, LogOptions::default()), true);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LONGEST_ENTRY, 2]);
    }
}
