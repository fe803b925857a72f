//! How a guest ended.

use serde::{Deserialize, Serialize};

use crate::Signal;

/// How a guest's process ended, and whether it ran out of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub status: ExitStatus,
    /// Whether the memory limit ended a process of it, even if not the first.
    pub oom_killed: bool,
}

/// How a guest's process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Exited(u8),
    /// A signal ended it.
    Signaled(Signal),
    /// It trapped (WebAssembly): the message says where and why.
    Trapped(String),
}

impl Exit {
    /// The exit without an out-of-memory kill.
    #[must_use]
    pub const fn new(status: ExitStatus) -> Self {
        Self { status, oom_killed: false }
    }

    /// The exit code as a shell and Docker tell it: the program's own, 128 + the signal's
    /// number, or 134 (128 + SIGABRT) for a trap.
    #[must_use]
    pub fn code(&self) -> u8 {
        match &self.status {
            ExitStatus::Exited(code) => *code,
            ExitStatus::Signaled(signal) => 128 + signal.number(),
            ExitStatus::Trapped(_) => 128 + Signal::ABRT.number(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(Exit::new(ExitStatus::Exited(3)).code(), 3);
        assert_eq!(Exit::new(ExitStatus::Signaled(Signal::KILL)).code(), 137);
        assert_eq!(Exit::new(ExitStatus::Trapped("unreachable".to_owned())).code(), 134);
    }
}
