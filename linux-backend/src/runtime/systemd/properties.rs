//! From files of cgroups, and from annotations, to properties of units
//! (systemd.resource-control(5)). What systemd knows of a limit, it does not undo.

use std::collections::HashMap;

use super::{
    super::{Error, Result, cgroups::Setting},
    Property, Value,
};

/// What `max` is to systemd.
const INFINITY: u64 = u64::MAX;
const SECOND: u64 = 1_000_000;
/// A hundredth of a processor, in microseconds of a second: systemd knows no finer quota.
const PERCENT: u64 = 10_000;

/// The properties of limits; those of files that it has none for are not among them.
pub(in super::super) fn of_settings(settings: &[Setting]) -> Result<Vec<Property>> {
    let mut properties: Vec<Property> = Vec::new();
    for setting in settings {
        for (name, value) in of_setting(setting)? {
            // What was named last holds.
            properties.retain(|(other, _)| other != name);
            properties.push((name.to_owned(), value));
        }
    }
    Ok(properties)
}

fn of_setting(setting: &Setting) -> Result<Vec<(&'static str, Value)>> {
    let value = setting.value.trim();
    let wrong = || {
        let why = format!("`{}` cannot be `{value}`", setting.file);
        Error::config("linux.resources", why)
    };
    let number = |text: &str| match text {
        "max" => Ok(INFINITY),
        text => text.parse::<u64>().map_err(|_| wrong()),
    };
    let memory = |name| Ok(vec![(name, Value::U64(number(value)?))]);
    match setting.file.as_str() {
        "memory.max" => memory("MemoryMax"),
        "memory.high" => memory("MemoryHigh"),
        "memory.low" => memory("MemoryLow"),
        "memory.min" => memory("MemoryMin"),
        "memory.swap.max" => memory("MemorySwapMax"),
        // There is no limit of 0 tasks.
        "pids.max" => Ok(vec![("TasksMax", Value::U64(number(value)?.max(1)))]),
        "cpu.weight" => memory("CPUWeight"),
        // What is idle has a weight of 0.
        "cpu.idle" if value == "1" => Ok(vec![("CPUWeight", Value::U64(0))]),
        "cpu.max" => {
            let (quota, period) = value.split_once(' ').unwrap_or((value, "100000"));
            let period = period.trim().parse().ok().filter(|period| *period > 0);
            let period: u64 = period.ok_or_else(wrong)?;
            let each_second = match number(quota)? {
                INFINITY => INFINITY,
                quota => {
                    let exact = quota.checked_mul(SECOND).ok_or_else(wrong)? / period;
                    exact.next_multiple_of(PERCENT)
                }
            };
            Ok(vec![
                ("CPUQuotaPeriodUSec", Value::U64(period)),
                ("CPUQuotaPerSecUSec", Value::U64(each_second)),
            ])
        }
        "cpuset.cpus" => Ok(vec![("AllowedCPUs", bits(value).ok_or_else(wrong)?)]),
        "cpuset.mems" => Ok(vec![("AllowedMemoryNodes", bits(value).ok_or_else(wrong)?)]),
        _ => Ok(Vec::new()),
    }
}

/// A list such as `0-3,8` as bits, the first byte's lowest first.
fn bits(list: &str) -> Option<Value> {
    let mut bytes = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // As many processors as a kernel can be built for.
        if first > last || last >= 8192 {
            return None;
        }
        for number in first..=last {
            if bytes.len() <= number / 8 {
                bytes.resize(number / 8 + 1, 0);
            }
            *bytes.get_mut(number / 8)? |= 1u8 << (number % 8);
        }
    }
    (!bytes.is_empty()).then_some(Value::Bytes(bytes))
}

/// What comes before a property's name, of an annotation that sets one.
const PREFIX: &str = "org.systemd.property.";

/// The properties that annotations set, as runc has them: values as `GVariant` writes them.
pub(in super::super) fn of_annotations(
    annotations: Option<&HashMap<String, String>>,
) -> Result<Vec<Property>> {
    let mut all: Vec<_> = annotations.into_iter().flatten().collect();
    all.sort();
    let named = all.into_iter().filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, text)));
    named.map(|(name, text)| of_annotation(name, text)).collect()
}

fn of_annotation(name: &str, text: &str) -> Result<Property> {
    let wrong = |why: String| Error::config(format!("annotations.{PREFIX}{name}"), why);
    let is_name = name.len() > 1 && name.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_name {
        return Err(wrong("it names no property of systemd's".to_owned()));
    }
    let value = parse(text).ok_or_else(|| {
        wrong(format!("`{text}` is none of true, 5, uint64 5, 'text' and ['text', 'text']"))
    })?;
    // Of times, those that people write are in seconds, and systemd's in microseconds.
    match name.strip_suffix("Sec").filter(|stem| !stem.ends_with('U')) {
        None => Ok((name.to_owned(), value)),
        Some(stem) => {
            let seconds = match value {
                Value::U64(number) => Some(number),
                Value::U32(number) => Some(number.into()),
                Value::I32(number) => u64::try_from(number).ok(),
                Value::I64(number) => u64::try_from(number).ok(),
                _ => None,
            };
            let microseconds = seconds.and_then(|seconds| seconds.checked_mul(SECOND));
            let value = microseconds.ok_or_else(|| wrong(format!("`{text}` is no time")))?;
            Ok((format!("{stem}USec"), Value::U64(value)))
        }
    }
}

fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    match text {
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    if let Some(list) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
        return parts
            .map(|part| quoted(part).map(str::to_owned))
            .collect::<Option<_>>()
            .map(Value::Texts);
    }
    if let Some(text) = quoted(text) {
        return Some(Value::Text(text.to_owned()));
    }
    match text.split_once(' ') {
        None => text.parse().ok().map(Value::I32),
        Some((kind, number)) => {
            let number = number.trim();
            match kind {
                "int32" => number.parse().ok().map(Value::I32),
                "uint32" => number.parse().ok().map(Value::U32),
                "int64" => number.parse().ok().map(Value::I64),
                "uint64" => number.parse().ok().map(Value::U64),
                _ => None,
            }
        }
    }
}

/// What is between quotes, with no others in it.
fn quoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains([quote, '\\'])).then_some(inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(file: &str, value: &str) -> Setting {
        Setting {
            controller: "unified",
            file: file.to_owned(),
            value: value.to_owned(),
            optional: false,
        }
    }

    #[test]
    fn limits_are_properties() {
        let of = |file, value| of_settings(&[setting(file, value)]).unwrap();
        let number = |name: &str, number| vec![(name.to_owned(), Value::U64(number))];
        assert_eq!(of("memory.max", "1000"), number("MemoryMax", 1000));
        assert_eq!(of("memory.swap.max", "max"), number("MemorySwapMax", u64::MAX));
        assert_eq!(of("pids.max", "0"), number("TasksMax", 1));
        assert_eq!(of("cpu.idle", "1"), number("CPUWeight", 0));
        let quota = |quota| {
            [number("CPUQuotaPeriodUSec", 100_000), number("CPUQuotaPerSecUSec", quota)].concat()
        };
        assert_eq!(of("cpu.max", "50000 100000"), quota(500_000));
        assert_eq!(of("cpu.max", "50001"), quota(510_000));
        assert_eq!(of("cpu.max", "max 100000"), quota(u64::MAX));
        let cpus = Value::Bytes(vec![0b101, 0b1]);
        assert_eq!(of("cpuset.cpus", "0,2,8"), [("AllowedCPUs".to_owned(), cpus)]);
        assert_eq!(of("io.max", "8:0 rbps=1"), []);
        for (file, value) in [("memory.max", "x"), ("cpu.max", "1 0"), ("cpuset.cpus", "3-1")] {
            assert!(of_settings(&[setting(file, value)]).is_err(), "{file} {value}");
        }
    }

    #[test]
    fn what_was_named_last_holds() {
        let both = [setting("memory.max", "1"), setting("memory.max", "2")];
        assert_eq!(of_settings(&both).unwrap(), [("MemoryMax".to_owned(), Value::U64(2))]);
    }

    #[test]
    fn annotations_set_properties() {
        let of = |name: &str, text: &str| of_annotation(name, text).ok();
        let is = |name: &str, value| Some((name.to_owned(), value));
        assert_eq!(of("TimeoutStopUSec", "uint64 123"), is("TimeoutStopUSec", Value::U64(123)));
        assert_eq!(of("TimeoutStopSec", "2"), is("TimeoutStopUSec", Value::U64(2_000_000)));
        assert_eq!(
            of("CollectMode", "'inactive-or-failed'"),
            is("CollectMode", Value::Text("inactive-or-failed".to_owned()))
        );
        let names = Value::Texts(vec!["a.service".to_owned(), "b.service".to_owned()]);
        assert_eq!(of("After", "['a.service', 'b.service']"), is("After", names));
        for (name, text) in [("", "true"), ("A-B", "true"), ("Ab", "x"), ("AbSec", "'x'")] {
            assert_eq!(of(name, text), None, "{name} {text}");
        }
    }
}
