//! The ranges of ids that the host lends to a user (subuid(5), subgid(5)).

use std::{fs, path::Path};

use super::Extent;

/// The ranges that `file` lends to user `uid`, one after the other from 1 on inside. Users are named, or told by
/// number.
pub(super) fn ranges(file: &Path, uid: u32) -> Vec<Extent> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    of(&text, &accounts, uid)
}

fn of(text: &str, accounts: &str, uid: u32) -> Vec<Extent> {
    let number = uid.to_string();
    let name = name(accounts, &number);
    let mut next = 1u32;
    let mut ranges = Vec::new();
    for line in text.lines() {
        let fields: Vec<_> = line.trim().split(':').collect();
        let [owner, first, count] = fields[..] else { continue };
        if owner != number && Some(owner) != name {
            continue;
        }
        let (Ok(outside), Ok(count)) = (first.parse(), count.parse()) else { continue };
        let Some(end) = next.checked_add(count) else { break };
        if count > 0 {
            ranges.push(Extent { inside: next, outside, count });
            next = end;
        }
    }
    ranges
}

/// The name of a user in passwd(5).
fn name<'a>(accounts: &'a str, uid: &str) -> Option<&'a str> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number == uid).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_user_by_name_and_by_number_follow_each_other() {
        let text = "other:5:6\nme:100000:65536\n# me:1:2\n1000:500:20\nme:x:1\nme:7\nme:9:0\n";
        let accounts = "root:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home/me:/bin/sh\n";
        let extent = |inside, outside, count| Extent { inside, outside, count };
        assert_eq!(of(text, accounts, 1000), [extent(1, 100_000, 65_536), extent(65_537, 500, 20)]);
        assert_eq!(of(text, accounts, 1001), []);
        assert_eq!(of(text, "", 1000), [extent(1, 500, 20)]);
    }
}
