//! Users and groups by the guest's own `/etc/passwd` and `/etc/group` (passwd(5), group(5)).

use silo_isolation::User;
use silo_layers::{Snapshot, union::UnionFs};

use crate::{Error, Result, guest_files::GuestFiles};

/// The accounts of a guest.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    users: Vec<Account>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

#[derive(Debug)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Whom a process runs as.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: User,
    pub(crate) home: String,
}

impl Accounts {
    /// Those of a snapshot. Files that are absent name nobody.
    pub(crate) fn of(snapshot: &Snapshot) -> Result<Self> {
        Ok(Self::of_files(&GuestFiles::open(snapshot)?))
    }

    fn of_files(files: &GuestFiles) -> Self {
        Self::parse(&files.read("etc/passwd"), &files.read("etc/group"))
    }

    /// Lines that are malformed name nobody, as in the C library.
    fn parse(passwd: &str, group: &str) -> Self {
        let users = passwd.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
            Some(Account {
                name: (*name).to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: (*home).to_owned(),
            })
        });
        let groups = group.lines().filter_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let [name, _, gid, members, ..] = fields.as_slice() else { return None };
            let members = members.split(',').map(str::to_owned).collect();
            Some(Group { name: (*name).to_owned(), gid: gid.parse().ok()?, members })
        });
        Self { users: users.collect(), groups: groups.collect() }
    }

    /// Whom `USER[:GROUP]` means, by names or numbers; empty is user 0. A number needs no
    /// account. Without a group the account's groups hold, with one only that.
    pub(crate) fn login(&self, text: &str) -> Result<Login> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let by_name = self.users.iter().find(|account| account.name == user);
        let number = user.parse::<u32>().ok();
        let account =
            by_name.or_else(|| self.users.iter().find(|account| Some(account.uid) == number));
        let uid = account.map(|account| account.uid).or(number).ok_or_else(|| {
            Error::invalid("user", text, format!("the image's /etc/passwd has no `{user}`"))
        })?;
        let (gid, additional_gids) = match group.filter(|group| !group.is_empty()) {
            Some(group) => (self.group(text, group)?, Vec::new()),
            None => (account.map_or(0, |account| account.gid), self.memberships(account)),
        };
        let home = account.map(|account| account.home.clone()).filter(|home| !home.is_empty());
        Ok(Login {
            user: User { uid, gid, additional_gids },
            home: home.unwrap_or_else(|| "/".to_owned()),
        })
    }

    fn group(&self, text: &str, group: &str) -> Result<u32> {
        let named = self.groups.iter().find(|known| known.name == group);
        named.map(|known| known.gid).or_else(|| group.parse().ok()).ok_or_else(|| {
            Error::invalid("user", text, format!("the image's /etc/group has no `{group}`"))
        })
    }

    fn memberships(&self, account: Option<&Account>) -> Vec<u32> {
        let Some(account) = account else { return Vec::new() };
        let is_member = |group: &&Group| group.members.contains(&account.name);
        let gids = self.groups.iter().filter(is_member).map(|group| group.gid);
        gids.filter(|&gid| gid != account.gid).collect()
    }
}

/// Whose files are that are given to `USER[:GROUP]`, names or numbers by the accounts that these files
/// have. Without a group it is the user's own, of a number the same number.
pub fn owner(files: &UnionFs, text: &str) -> Result<(u32, u32)> {
    let is_number = text.parse::<u32>().is_ok();
    let text = if is_number { format!("{text}:{text}") } else { text.to_owned() };
    let login = Accounts::of_files(&GuestFiles::of(files.clone())).login(&text)?;
    Ok((login.user.uid, login.user.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44::/srv:/bin/false\n\
                          broken:x:a:b\n1000:x:7:7::/seven:\n";
    const GROUP: &str = "root:x:0:\nweb:x:44:web\nlogs:x:50:web,other\nstaff:x:60:other\n";

    fn login(text: &str) -> (u32, u32, Vec<u32>, String) {
        let Login { user, home } = Accounts::parse(PASSWD, GROUP).login(text).unwrap();
        (user.uid, user.gid, user.additional_gids, home)
    }

    #[test]
    fn names_and_numbers_mean_accounts() {
        assert_eq!(login(""), (0, 0, vec![], "/root".to_owned()));
        assert_eq!(login("web"), (33, 44, vec![50], "/srv".to_owned()));
        assert_eq!(login("33"), (33, 44, vec![50], "/srv".to_owned()));
        assert_eq!(login("web:staff"), (33, 60, vec![], "/srv".to_owned()));
        assert_eq!(login("web:9"), (33, 9, vec![], "/srv".to_owned()));
        assert_eq!(login("4000"), (4000, 0, vec![], "/".to_owned()));
        // A name comes before a number.
        assert_eq!(login("1000"), (7, 7, vec![], "/seven".to_owned()));
    }

    #[test]
    fn who_is_not_known_is_refused() {
        for text in ["nobody", "web:nogroup", "-1", "4294967296"] {
            assert!(Accounts::parse(PASSWD, GROUP).login(text).is_err(), "{text}");
        }
    }
}
