//! Sizes and times for people.

use std::time::{Duration, SystemTime};

/// A size in decimal units with three significant digits, as Docker prints it: `118MB`, `1.2kB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    let number = format!("{value:.digits$}");
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        &number
    };
    format!("{number}{}", UNITS[unit])
}

/// A size in binary units with four significant digits, as Docker prints memory: `7.637GiB`.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(crate) fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 || value >= 999.95 => 0,
        99.995.. => 1,
        9.9995.. => 2,
        _ => 3,
    };
    let number = format!("{value:.digits$}");
    let number = match number.split_once('.') {
        Some(_) => number.trim_end_matches('0').trim_end_matches('.'),
        None => &number,
    };
    format!("{number}{}", UNITS[unit])
}

/// At most `width` characters of `text`, the last an ellipsis where there were more.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// How long ago `then` was: `2 hours ago`. A time to come is now.
pub(crate) fn ago(now: SystemTime, then: SystemTime) -> String {
    format!("{} ago", duration(now.duration_since(then).unwrap_or_default()))
}

/// A duration in its largest fitting unit, in Docker's words: `About a minute`, `3 weeks`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// Reads a size in binary units: `64m`, `1.5g`, `512KiB`, `100b`, or plain bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("`{text}` is not a size: expected a number and b, k, m, g or t, such as 64m");
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(wrong);
    }
    let fraction = number.parse::<f64>().map_err(|_| wrong())?;
    #[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
    let bytes = fraction * (1_u64 << shift) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to fit")]
    let whole = (bytes < 9e18).then_some(bytes as u64);
    whole.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_significant_digits_in_decimal_units() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.23kB"),
            (12_345, "12.3kB"),
            (999_600, "1MB"),
            (118_000_000, "118MB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn memory_has_four_significant_digits_in_binary_units() {
        let cases = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1_234_567, "1.177MiB"),
            (12_345_678, "11.77MiB"),
            (1_048_524, "1024KiB"),
            (8_200_000_000, "7.637GiB"),
            (u64::MAX, "16EiB"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(binary_size(bytes), shown);
        }
    }

    #[test]
    fn sizes_are_read_in_binary_units() {
        let cases = [("0", 0), ("100b", 100), ("64m", 64 << 20), ("1G", 1 << 30), ("1.5k", 1536)];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1.2.3", "99999999999g", "1 m", "."] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_told_in_their_largest_unit() {
        let hour = 3600;
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (hour, "About an hour"),
            (47 * hour, "47 hours"),
            (72 * hour, "3 days"),
            (21 * 24 * hour, "3 weeks"),
            (90 * 24 * hour, "3 months"),
            (900 * 24 * hour, "2 years"),
        ];
        for (seconds, shown) in cases {
            assert_eq!(duration(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn a_time_to_come_is_now() {
        let now = SystemTime::now();
        assert_eq!(ago(now, now + Duration::from_secs(9)), "Less than a second ago");
    }
}
