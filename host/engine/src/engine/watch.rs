//! Reading a container's log.

use std::io;

use super::Engine;
use crate::{
    LogEntry, LogOptions, Result,
    log::LogReader,
    protocol::{Reply, Request},
};

impl Engine {
    /// Gives `sink` the container's log, and with `follow` what is added until it ends. An
    /// error of the sink ends the reading.
    pub fn logs(
        &self,
        query: &str,
        options: LogOptions,
        sink: &mut dyn FnMut(LogEntry) -> io::Result<()>,
    ) -> Result<()> {
        let summary = self.inspect(query)?;
        let id = &summary.container.id;
        let mut reader = LogReader::new(&self.containers.log_path(id), options);
        let running = summary.state.status.is_live();
        let connection = if options.follow && running { self.connect(id)? } else { None };
        let Some(mut connection) = connection else { return reader.first(sink) };
        let mut news = connection.ask(&Request::Follow)?;
        reader.first(sink)?;
        while let Some(Reply::Logged) = news {
            news = connection.next()?;
            reader.rest(sink)?;
        }
        Ok(())
    }
}
