//! What a mount shows, and whom it shows entries to belong to.
//!
//! What must stay true: ids are only ever shown otherwise, never permissions: the kernel enforces
//! modes with the ids that are shown. ACLs keep the numbers that they were stored with.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use clap::Args;

use crate::format::{Body, Owner};
use crate::fuse::MountOptions;
use crate::localfs::Owners;
use crate::ops::path;
use crate::repo::Repository;
use crate::vfs::{ShowOwner, Start};

use super::super::error::CliError;
use super::super::snapshots::FilterOptions;

/// What a mount shows.
#[derive(Debug, Args)]
pub(super) struct View {
    /// Show one snapshot, or a directory of one, at the root of the mount
    #[arg(long, value_name = "SNAP[:/PATH]")]
    snapshot: Option<OsString>,

    /// Show everything as owned by this user, number or name
    #[arg(long, value_name = "USER")]
    uid: Option<String>,

    /// Show everything as owned by this group, number or name
    #[arg(long, value_name = "GROUP")]
    gid: Option<String>,

    /// Show owners by name where this system knows the name, instead of by number
    #[arg(long)]
    map_owner: bool,

    #[command(flatten)]
    filter: FilterOptions,
}

impl View {
    /// Refuses what says nothing.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if self.snapshot.is_none() && !self.filter.arguments().is_empty() {
            let what = "--host, --tag and --source choose what --snapshot names";
            return Err(CliError::usage(what).hint("--snapshot latest is the newest of them"));
        }
        Ok(())
    }

    /// The same as arguments.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut args = self.filter.arguments();
        let options = [("--snapshot", self.snapshot.clone())];
        let owners = [("--uid", &self.uid), ("--gid", &self.gid)];
        let owners = owners.map(|(option, id)| (option, id.clone().map(OsString::from)));
        for (option, value) in options.into_iter().chain(owners) {
            args.extend(value.into_iter().flat_map(|value| [option.into(), value]));
        }
        args.extend(self.map_owner.then(|| "--map-owner".into()));
        args
    }

    /// What the mount gets to know of it.
    pub(super) fn options(&self, repo: &Repository) -> anyhow::Result<MountOptions> {
        let owners = Owners::new();
        let uid = self.uid.as_deref().map(|text| user(&owners, text)).transpose()?;
        let gid = self.gid.as_deref().map(|text| group(&owners, text)).transpose()?;
        let shown = ShownOwner { by_name: self.map_owner.then_some(owners), uid, gid };
        let changes = shown.by_name.is_some() || uid.is_some() || gid.is_some();
        let owners = changes.then(|| Arc::new(shown) as Arc<dyn ShowOwner>);
        let start = self.start(repo)?;
        Ok(MountOptions { uid, gid, start, owners, ..MountOptions::default() })
    }

    fn start(&self, repo: &Repository) -> anyhow::Result<Option<Start>> {
        let Some(name) = &self.snapshot else { return Ok(None) };
        let found = path::resolve(repo, name.as_bytes(), &self.filter.clone().filter())?;
        if !matches!(found.node.body, Body::Directory { .. }) {
            let path = String::from_utf8_lossy(&found.path);
            let what = format!("{path} is not a directory in snapshot {}", found.snapshot.id);
            let hint = "a mount has a directory at its root; `icecore cat` prints a file";
            return Err(CliError::failed(what).hint(hint).into());
        }
        Ok(Some(Start { snapshot: found.snapshot, path: found.path }))
    }
}

/// Shows owners by name, or all as one.
#[derive(Debug)]
struct ShownOwner {
    by_name: Option<Owners>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl ShowOwner for ShownOwner {
    fn owner(&self, stored: &Owner) -> (u32, u32) {
        let (uid, gid) = match &self.by_name {
            Some(owners) => owners.local(stored),
            None => (stored.uid, stored.gid),
        };
        (self.uid.unwrap_or(uid), self.gid.unwrap_or(gid))
    }
}

/// No user or group has this number: the system uses it for "none".
const NONE: u32 = u32::MAX;

const fn nobody() -> Owner {
    Owner { uid: NONE, gid: NONE, user: String::new(), group: String::new() }
}

fn user(owners: &Owners, text: &str) -> Result<u32, CliError> {
    let named = Owner { user: text.to_owned(), ..nobody() };
    id(text, "user", || owners.local(&named).0)
}

fn group(owners: &Owners, text: &str) -> Result<u32, CliError> {
    let named = Owner { group: text.to_owned(), ..nobody() };
    id(text, "group", || owners.local(&named).1)
}

fn id(text: &str, what: &str, by_name: impl FnOnce() -> u32) -> Result<u32, CliError> {
    match text.parse().unwrap_or_else(|_| by_name()) {
        NONE => {
            let hint = format!("give the number of a {what}, or a name that this system knows");
            Err(CliError::failed(format!("no {what} \"{text}\"")).hint(hint))
        }
        id => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Owner {
        Owner { uid: 7, gid: 8, user: "root".into(), group: "no such group here".into() }
    }

    #[test]
    fn names_win_over_numbers_and_a_fixed_id_over_both() {
        let shown = |by_name: bool, uid, gid| {
            let by_name = by_name.then(Owners::new);
            ShownOwner { by_name, uid, gid }.owner(&stored())
        };
        assert_eq!(shown(false, Some(5), None), (5, 8));
        assert_eq!(shown(false, None, Some(5)), (7, 5));
        assert_eq!(shown(true, None, None), (0, 8), "an unknown name keeps its number");
        assert_eq!(shown(true, Some(5), Some(6)), (5, 6));
    }

    #[test]
    fn ids_are_numbers_or_names() {
        let owners = Owners::new();
        assert_eq!(user(&owners, "12").unwrap(), 12);
        assert_eq!(user(&owners, "root").unwrap(), 0);
        assert_eq!(group(&owners, "root").unwrap(), 0);
        for text in ["no such user here", "", "4294967295", "-1"] {
            assert!(user(&owners, text).is_err(), "{text}");
        }
    }
}
