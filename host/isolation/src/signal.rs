//! Signals, by Linux's names and numbers on every host.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A Linux signal, 1 to 64 (signal(7), x86-64 and arm64 numbering).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Signal(u8);

/// The text or number is no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a signal: expected a name such as TERM or SIGTERM, or a number from 1 to 64")]
pub struct InvalidSignal(String);

/// The standard signals, at their number less one.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// glibc's SIGRTMIN; the two before it belong to the C library.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    /// SIGHUP
    pub const HUP: Self = Self(1);
    /// SIGINT
    pub const INT: Self = Self(2);
    /// SIGQUIT
    pub const QUIT: Self = Self(3);
    /// SIGABRT
    pub const ABRT: Self = Self(6);
    /// SIGKILL
    pub const KILL: Self = Self(9);
    /// SIGTERM
    pub const TERM: Self = Self(15);

    /// The signal with this number.
    pub fn from_number(number: u8) -> Result<Self, InvalidSignal> {
        match number {
            1..=RTMAX => Ok(Self(number)),
            _ => Err(InvalidSignal(number.to_string())),
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = InvalidSignal;

    fn from_str(text: &str) -> Result<Self, InvalidSignal> {
        let invalid = || InvalidSignal(text.to_owned());
        if let Ok(number) = text.parse::<u8>() {
            return Self::from_number(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(index) = NAMES.iter().position(|&known| known == name) {
            return u8::try_from(index + 1).map(Self).map_err(|_| invalid());
        }
        let offset = |digits: &str| digits.parse::<u8>().ok().filter(|&n| n <= RTMAX - RTMIN);
        match name {
            "RTMIN" => Ok(Self(RTMIN)),
            "RTMAX" => Ok(Self(RTMAX)),
            "CLD" => "CHLD".parse(),
            "POLL" => "IO".parse(),
            "IOT" => Ok(Self::ABRT),
            _ => None
                .or_else(|| name.strip_prefix("RTMIN+").and_then(offset).map(|n| Self(RTMIN + n)))
                .or_else(|| name.strip_prefix("RTMAX-").and_then(offset).map(|n| Self(RTMAX - n)))
                .ok_or_else(invalid),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 < RTMIN => write!(f, "{}", self.0),
            None => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<u8> for Signal {
    type Error = InvalidSignal;

    fn try_from(number: u8) -> Result<Self, InvalidSignal> {
        Self::from_number(number)
    }
}

impl From<Signal> for u8 {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_back_from_its_name() {
        for number in 1..=RTMAX {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(signal.to_string().parse::<Signal>(), Ok(signal));
        }
    }

    #[test]
    fn names_are_read_with_and_without_prefix_in_any_case() {
        for text in ["TERM", "SIGTERM", "sigterm", "15"] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
        assert_eq!("RTMAX-1".parse::<Signal>().unwrap().number(), 63);
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in ["", "0", "65", "SIG", "SIGFOO", "-9", "RTMIN+31", "RTMAX-31"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }
}
