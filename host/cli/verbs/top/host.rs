//! What Linux tells of processes, in the columns of `ps -f`.

use std::fs;

use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::output::visible;

const HEADING: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
/// Clock ticks in a second as Linux tells times to programs, on every processor that silo runs on.
const TICKS: u64 = 100;

/// The heading, and a row for each of these processes that is still there.
pub(super) fn rows(pids: &[u32]) -> Vec<Vec<String>> {
    let host = Host::look();
    let mut pids = pids.to_vec();
    pids.sort_unstable();
    let heading = HEADING.map(str::to_owned).to_vec();
    let rows = pids.iter().filter_map(|&pid| Some(Process::read(pid)?.row(&host)));
    std::iter::once(heading).chain(rows).collect()
}

/// What the columns need to know beside the process.
struct Host {
    now: Zoned,
    /// When it was started, in seconds since 1970.
    booted: i64,
    /// Who has which number, as /etc/passwd tells it.
    users: String,
}

impl Host {
    fn look() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let booted = stat.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok());
        Self {
            now: Timestamp::now().to_zoned(TimeZone::system()),
            booted: booted.unwrap_or_default(),
            users: fs::read_to_string("/etc/passwd").unwrap_or_default(),
        }
    }

    /// The user's name, or the number where it has none here.
    fn user(&self, uid: u32) -> String {
        let name = self.users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        });
        name.unwrap_or_else(|| uid.to_string())
    }

    /// The time of today, else the day of this year, else the year.
    fn start(&self, ticks: u64) -> String {
        let seconds = i64::try_from(ticks / TICKS).unwrap_or_default();
        let Ok(start) = Timestamp::from_second(self.booted.saturating_add(seconds)) else {
            return "?".to_owned();
        };
        let start = start.to_zoned(self.now.time_zone().clone());
        let format = match () {
            () if start.date() == self.now.date() => "%H:%M",
            () if start.year() == self.now.year() => "%b%d",
            () => "%Y",
        };
        start.strftime(format).to_string()
    }

    /// The share of a processor since it was started, in percent.
    fn share(&self, process: &Process) -> u64 {
        let up = u64::try_from(self.now.timestamp().as_second() - self.booted).unwrap_or_default();
        let alive = up.saturating_sub(process.started / TICKS);
        (process.used * 100 / TICKS).checked_div(alive).unwrap_or_default().min(99)
    }
}

/// One process.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    uid: u32,
    pid: u32,
    parent: u32,
    terminal: u32,
    /// Processor time, in ticks.
    used: u64,
    /// When it was started, in ticks since the host was.
    started: u64,
    command: String,
}

impl Process {
    /// `None` when it has ended.
    fn read(pid: u32) -> Option<Self> {
        let text = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        Self::parse(pid, &text("stat")?, &text("status")?, &line)
    }

    /// From what proc(5) calls `stat`, `status` and `cmdline`.
    fn parse(pid: u32, stat: &str, status: &str, line: &[u8]) -> Option<Self> {
        // A name may hold anything, brackets too.
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        let words = String::from_utf8_lossy(line);
        let words = words.trim_end_matches('\0').replace('\0', " ");
        let command = if words.is_empty() { format!("[{name}]") } else { words };
        Some(Self {
            uid: ids.split_whitespace().nth(1)?.parse().ok()?,
            pid,
            parent: fields.get(1)?.parse().ok()?,
            terminal: fields.get(4)?.parse().ok()?,
            used: number(11)?.saturating_add(number(12)?),
            started: number(19)?,
            command: visible(&command),
        })
    }

    fn row(&self, host: &Host) -> Vec<String> {
        let seconds = self.used / TICKS;
        vec![
            host.user(self.uid),
            self.pid.to_string(),
            self.parent.to_string(),
            host.share(self).to_string(),
            host.start(self.started),
            terminal(self.terminal),
            format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
            self.command.clone(),
        ]
    }
}

/// The name of a terminal by its device's number.
fn terminal(device: u32) -> String {
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    match major {
        4 if minor < 64 => format!("tty{minor}"),
        // Pseudo terminals have eight majors (Documentation/admin-guide/devices.txt).
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "7 (a) b) S 3 7 7 34817 7 4194304 1 0 0 0 360000 150 0 0 20 0 1 0 8640000 1 1";

    fn host() -> Host {
        let now = "2026-03-05T12:00:00Z".parse::<Timestamp>().unwrap().to_zoned(TimeZone::UTC);
        let users = "root:x:0:0::/:/bin/sh\nme:x:10:10::/:/bin/sh\n".to_owned();
        Host { booted: now.timestamp().as_second() - 172_800, now, users }
    }

    #[test]
    fn a_process_is_told_in_the_columns_of_ps() {
        let status = "Name:\tx\nUid:\t5\t10\t10\t10\n";
        let process = Process::parse(7, STAT, status, b"sleep\0a\x1b[2Jb\0").unwrap();
        let row = process.row(&host());
        let expected = ["me", "7", "3", "4", "12:00", "pts/1", "01:00:01", r"sleep a\u{1b}[2Jb"];
        assert_eq!(row[..4], expected[..4]);
        assert_eq!(row[5..], expected[5..]);
        let nameless = Process::parse(7, STAT, status, b"").unwrap();
        assert_eq!(nameless.command, "[a) b]");
        assert_eq!(Process::parse(7, "7 (a", status, b""), None);
    }

    #[test]
    fn a_start_is_told_the_coarser_the_longer_it_is_ago() {
        let mut host = host();
        assert_eq!(host.start(140_000 * TICKS), "02:53");
        assert_eq!(host.start(0), "Mar03");
        host.booted -= 400 * 86_400;
        assert_eq!(host.start(0), "2025");
        assert_eq!((host.user(0), host.user(11)), ("root".to_owned(), "11".to_owned()));
    }

    #[test]
    fn terminals_are_named_by_their_numbers() {
        let names = [(0, "?"), (0x0401, "tty1"), (0x8800, "pts/0"), (0x8901, "pts/257")];
        for (device, name) in names {
            assert_eq!(terminal(device), name);
        }
    }
}
