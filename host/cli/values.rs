//! Values of options, as Docker writes them.

use std::{path::PathBuf, time::Duration};

use silo_isolation::{Ceiling, Device, DeviceAccess, Network, Publication};
use silo_layers::Platform;

use crate::format;

/// The most processes that a Linux kernel ever has (`PID_MAX_LIMIT`, 64 bit): a limit that
/// limits nothing.
const NO_PIDS_LIMIT: u64 = 1 << 22;

/// A number of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidsLimit(pub(crate) u64);

/// `--pids-limit`: 0 and less are no limit.
pub(crate) fn pids_limit(text: &str) -> Result<PidsLimit, String> {
    match text.parse::<i64>() {
        Ok(limit @ 1..) => Ok(PidsLimit(limit.unsigned_abs())),
        Ok(_) => Ok(PidsLimit(NO_PIDS_LIMIT)),
        Err(_) => Err("expected a whole number, or -1 for no limit".to_owned()),
    }
}

/// `--memory-swap`: a size, or -1 for all that there is.
pub(crate) fn swap(text: &str) -> Result<Ceiling, String> {
    if text == "-1" { Ok(Ceiling::Unlimited) } else { format::parse_size(text).map(Ceiling::At) }
}

/// `--cpu-quota`: microseconds, or less than 0 for no limit.
pub(crate) fn quota(text: &str) -> Result<Ceiling, String> {
    match text.parse::<i64>() {
        Ok(micros @ 0..) => Ok(Ceiling::At(micros.unsigned_abs())),
        Ok(_) => Ok(Ceiling::Unlimited),
        Err(_) => Err("expected a whole number of microseconds, or -1 for no limit".to_owned()),
    }
}

/// A device and the most of something in a second.
pub(crate) type Rate = (PathBuf, u64);

/// `--device-read-bps` and its like: `PATH:SIZE`.
pub(crate) fn bytes_per_second(text: &str) -> Result<Rate, String> {
    let (path, size) = rated(text)?;
    Ok((path, format::parse_size(size)?))
}

/// `--device-read-iops` and its like: `PATH:NUMBER`.
pub(crate) fn operations_per_second(text: &str) -> Result<Rate, String> {
    let (path, number) = rated(text)?;
    let number = number.parse().map_err(|_| format!("`{number}` is not a whole number"))?;
    Ok((path, number))
}

/// `--sysctl`: `NAME=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn rated(text: &str) -> Result<(PathBuf, &str), String> {
    match text.rsplit_once(':') {
        Some((path, rate)) if path.starts_with('/') => Ok((path.into(), rate)),
        _ => Err("expected a device and a rate, such as /dev/sda:1m".to_owned()),
    }
}

/// `--device`: `HOST[:GUEST][:ACCESS]`; as in Docker, a second part of the letters `rwm` is no path.
pub(crate) fn device(text: &str) -> Result<Device, String> {
    let parts: Vec<_> = text.split(':').collect();
    let access = |text: &str| text.parse::<DeviceAccess>().map_err(|error| error.to_string());
    let (source, destination, access) = match parts[..] {
        [source] => (source, source, DeviceAccess::ALL),
        [source, second] => match second.parse() {
            Ok(access) => (source, source, access),
            Err(_) => (source, second, DeviceAccess::ALL),
        },
        [source, destination, third] => (source, destination, access(third)?),
        _ => return Err("expected HOST[:GUEST][:rwm]".to_owned()),
    };
    if !source.starts_with('/') || !destination.starts_with('/') {
        return Err("the paths of a device are absolute".to_owned());
    }
    Ok(Device { source: source.into(), destination: destination.to_owned(), access })
}

/// `--cpus`: a decimal number of cores, in billionths of one.
pub(crate) fn cpus(text: &str) -> Result<u64, String> {
    let wrong = || "expected a number of cores above 0, such as 0.5 or 2".to_owned();
    decimal(text, 9).filter(|&nanos| nanos > 0).ok_or_else(wrong)
}

/// A decimal number times ten to the power of `places`; `None` where digits would be lost.
fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || fraction.len() > places {
        return None;
    }
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

/// `--timeout`: seconds, or a number with one of the units `s`, `m`, `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time above 0, such as 10 (seconds), 1.5s, 2m or 1h".to_owned();
    if let Some(number) = text.strip_suffix("ms") {
        return decimal(number, 6)
            .filter(|&nanos| nanos > 0)
            .map(Duration::from_nanos)
            .ok_or_else(wrong);
    }
    let (number, seconds) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    decimal(number, 9)
        .and_then(|nanos| nanos.checked_mul(seconds))
        .filter(|&nanos| nanos > 0)
        .map(Duration::from_nanos)
        .ok_or_else(wrong)
}

/// How long `stop` waits: whole seconds; less than 0 is for ever.
pub(crate) fn patience(text: &str) -> Result<Duration, String> {
    match text.parse::<i64>() {
        Ok(seconds) => Ok(u64::try_from(seconds).map_or(Duration::MAX, Duration::from_secs)),
        Err(_) => Err("expected a whole number of seconds, or -1 for ever".to_owned()),
    }
}

/// `--network`.
pub(crate) fn network(text: &str) -> Result<Network, String> {
    match text {
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        _ => Err("expected none or host; others come later".to_owned()),
    }
}

/// What one `-p` publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publications(pub(crate) Vec<Publication>);

/// `--publish`.
pub(crate) fn publications(text: &str) -> Result<Publications, String> {
    Publication::parse(text).map(Publications).map_err(|error| error.to_string())
}

/// `--platform`: `OS/ARCH[/VARIANT]`, or an operating system alone with its usual architecture.
pub(crate) fn platform(text: &str) -> Result<Platform, String> {
    match text {
        "linux" => Ok(Platform::linux()),
        "wasi" | "wasm" => Ok(Platform::wasi()),
        _ => {
            text.parse().map_err(|error: silo_layers::platform::InvalidPlatform| error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_read_to_the_billionth() {
        for (text, nanos) in [("1", 1_000_000_000), ("0.5", 500_000_000), (".000000001", 1)] {
            assert_eq!(cpus(text), Ok(nanos), "{text}");
        }
        for text in ["", ".", "0", "-1", "1e3", "0.0000000001", "x", "1.2.3", "99999999999"] {
            assert!(cpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn minus_one_is_no_limit() {
        assert_eq!(swap("-1"), Ok(Ceiling::Unlimited));
        assert_eq!(swap("64m"), Ok(Ceiling::At(64 << 20)));
        assert_eq!(quota("-1"), Ok(Ceiling::Unlimited));
        assert_eq!(quota("5000"), Ok(Ceiling::At(5000)));
        assert!(swap("-2").is_err() && swap("").is_err());
        assert!(quota("1.5").is_err() && quota("").is_err());
    }

    #[test]
    fn a_rate_belongs_to_a_device() {
        assert_eq!(bytes_per_second("/dev/sda:1m"), Ok(("/dev/sda".into(), 1 << 20)));
        assert_eq!(bytes_per_second("/dev/a:b:1k"), Ok(("/dev/a:b".into(), 1 << 10)));
        assert_eq!(operations_per_second("/dev/sda:7"), Ok(("/dev/sda".into(), 7)));
        for text in ["", "/dev/sda", "/dev/sda:", "sda:1", "/dev/sda:-1"] {
            assert!(bytes_per_second(text).is_err(), "{text}");
            assert!(operations_per_second(text).is_err(), "{text}");
        }
        assert!(operations_per_second("/dev/sda:1k").is_err());
    }

    #[test]
    fn a_device_has_a_place_and_an_access() {
        let read = |text: &str| {
            let Device { source, destination, access } = device(text).unwrap();
            format!("{} {destination} {access}", source.display())
        };
        assert_eq!(read("/dev/fuse"), "/dev/fuse /dev/fuse rwm");
        assert_eq!(read("/dev/fuse:rw"), "/dev/fuse /dev/fuse rw");
        assert_eq!(read("/dev/sda:/dev/xvda"), "/dev/sda /dev/xvda rwm");
        assert_eq!(read("/dev/sda:/dev/xvda:r"), "/dev/sda /dev/xvda r");
        for text in ["", "fuse", "/dev/a:b", "/dev/a:/b:x", "/dev/a:/b:r:r", "/dev/a:/b:"] {
            assert!(device(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        for (text, millis) in
            [("10", 10_000), ("1.5s", 1500), ("2m", 120_000), ("0.5h", 1_800_000), ("100ms", 100)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "0", "-1", "1d", "0ms", "ms", "99999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patience_may_have_no_end() {
        assert_eq!(patience("0"), Ok(Duration::ZERO));
        assert_eq!(patience("90"), Ok(Duration::from_secs(90)));
        assert_eq!(patience("-1"), Ok(Duration::MAX));
        assert!(patience("1.5").is_err() && patience("").is_err());
    }

    #[test]
    fn no_limit_of_processes_is_the_kernels() {
        assert_eq!(pids_limit("7"), Ok(PidsLimit(7)));
        assert_eq!(pids_limit("-1"), Ok(PidsLimit(NO_PIDS_LIMIT)));
        assert!(pids_limit("many").is_err());
    }

    #[test]
    fn a_platform_may_be_an_operating_system_alone() {
        assert_eq!(platform("wasm").unwrap().to_string(), "wasi/wasm");
        assert_eq!(platform("linux"), Ok(Platform::linux()));
        assert!(platform("plan9").is_err());
    }
}
