//! Users as the drill's world names them: `/etc/passwd` and `/etc/group` of that world, which may
//! have been restored.

use std::fs;

use crate::ops::{OpError, Result};

/// Whom a service runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Groups besides.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// The user of a name or number; this process's where there is none.
pub(super) fn find(name: Option<&str>) -> Result<User> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let own = rustix::process::geteuid().as_raw();
    let wanted = name.map_or_else(|| own.to_string(), str::to_owned);
    let user = parse(&read("/etc/passwd"), &read("/etc/group"), &wanted);
    user.or_else(|| (name.is_none()).then(nameless)).ok_or_else(|| {
        OpError::Input(format!("there is no user \"{wanted}\" in the drill's /etc/passwd"))
    })
}

fn nameless() -> User {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    User { name: uid.to_string(), uid, gid, groups: Vec::new(), home: "/".into() }
}

/// Reads passwd(5) and group(5).
fn parse(passwd: &str, group: &str, wanted: &str) -> Option<User> {
    let user = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        let fits = *name == wanted || wanted.parse() == Ok::<u32, _>(uid);
        let (name, home) = ((*name).to_owned(), (*home).to_owned());
        fits.then_some(User { name, uid, gid, groups: Vec::new(), home })
    })?;
    let member = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members] = fields.as_slice() else { return None };
        members.split(',').any(|member| member == user.name).then(|| gid.parse().ok())?
    };
    let groups = group.lines().filter_map(member).collect();
    Some(User { groups, ..user })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nbroken\nn:x:a:b:::\n\
                          postgres:x:105:110:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";
    const GROUP: &str = "ssl-cert:x:109:postgres,root\npostgres:x:110:\nodd\n";

    #[test]
    fn names_and_numbers_find_users_with_their_groups() {
        let user = parse(PASSWD, GROUP, "postgres").unwrap();
        assert_eq!((user.uid, user.gid, user.groups.as_slice()), (105, 110, [109].as_slice()));
        assert_eq!(user.home, "/var/lib/postgresql");
        assert_eq!(parse(PASSWD, GROUP, "105"), Some(user));
        for wanted in ["nobody", "", "n", "7"] {
            assert_eq!(parse(PASSWD, GROUP, wanted), None, "{wanted}");
        }
    }
}
