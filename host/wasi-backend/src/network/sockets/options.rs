//! Options of sockets: kept until there is a socket of the host, and set on each that a listener accepts.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;

use super::{Family, Result};

/// The most that a buffer is made: what the guest asks for, the host's memory holds.
const MAX_BUFFER: u64 = 4 << 20;

/// What a guest set, and what it is told otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    pub(super) keep_alive: bool,
    idle: Option<Duration>,
    interval: Option<Duration>,
    count: Option<u32>,
    hops: Option<u8>,
    receive_buffer: Option<u64>,
    send_buffer: Option<u64>,
}

/// A value of more than zero.
fn positive<T: Default + PartialEq>(value: T) -> Result<T> {
    if value == T::default() { Err(ErrorCode::InvalidArgument.into()) } else { Ok(value) }
}

impl Options {
    /// In nanoseconds, as the two after it.
    pub(super) fn idle(&self) -> u64 {
        nanos(self.idle.unwrap_or(Duration::from_hours(2)))
    }

    pub(super) fn interval(&self) -> u64 {
        nanos(self.interval.unwrap_or(Duration::from_secs(75)))
    }

    pub(super) fn count(&self) -> u32 {
        self.count.unwrap_or(9)
    }

    pub(super) fn hops(&self) -> u8 {
        self.hops.unwrap_or(64)
    }

    pub(super) fn receive_buffer(&self) -> u64 {
        self.receive_buffer.unwrap_or(128 << 10)
    }

    pub(super) fn send_buffer(&self) -> u64 {
        self.send_buffer.unwrap_or(128 << 10)
    }

    pub(super) fn set_idle(&mut self, nanos: u64) -> Result<()> {
        self.idle = Some(seconds(positive(nanos)?));
        Ok(())
    }

    pub(super) fn set_interval(&mut self, nanos: u64) -> Result<()> {
        self.interval = Some(seconds(positive(nanos)?));
        Ok(())
    }

    pub(super) fn set_count(&mut self, count: u32) -> Result<()> {
        self.count = Some(positive(count)?.min(127));
        Ok(())
    }

    pub(super) fn set_hops(&mut self, hops: u8) -> Result<()> {
        self.hops = Some(positive(hops)?);
        Ok(())
    }

    pub(super) fn set_receive_buffer(&mut self, size: u64) -> Result<()> {
        self.receive_buffer = Some(positive(size)?.min(MAX_BUFFER));
        Ok(())
    }

    pub(super) fn set_send_buffer(&mut self, size: u64) -> Result<()> {
        self.send_buffer = Some(positive(size)?.min(MAX_BUFFER));
        Ok(())
    }

    /// Sets what the guest set on a socket of the host. Hosts differ in what they take; what one does not
    /// take is no reason to fail.
    pub(super) fn apply(&self, socket: &SockRef<'_>, family: Family, is_stream: bool) {
        let size = |size: Option<u64>| size.and_then(|size| usize::try_from(size).ok());
        if let Some(size) = size(self.receive_buffer) {
            let _ = socket.set_recv_buffer_size(size);
        }
        if let Some(size) = size(self.send_buffer) {
            let _ = socket.set_send_buffer_size(size);
        }
        if let Some(hops) = self.hops {
            let _ = match family {
                Family::V4 => socket.set_ttl_v4(hops.into()),
                Family::V6 => socket.set_unicast_hops_v6(hops.into()),
            };
        }
        if is_stream && self.keep_alive {
            let keep_alive = TcpKeepalive::new()
                .with_time(Duration::from_nanos(self.idle()))
                .with_interval(Duration::from_nanos(self.interval()));
            #[cfg(unix)]
            let keep_alive = keep_alive.with_retries(self.count());
            let _ = socket.set_tcp_keepalive(&keep_alive);
        }
        if is_stream && !self.keep_alive {
            let _ = socket.set_keepalive(false);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Whole seconds, as hosts count them, and at least one.
fn seconds(nanos: u64) -> Duration {
    Duration::from_secs(nanos.div_ceil(1_000_000_000).clamp(1, 32_767))
}
