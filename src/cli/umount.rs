//! `icecore umount`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::fuse::{self, FuseError, Readers, Use, User, Users};
use crate::localfs::Owners;
use crate::report::{json as as_json, text};
use crate::units;

use super::context::Context;
use super::error::{CliError, talk_error};
use super::exit::Exit;
use super::mount::bytes;
use super::progress::talk;

/// Uses of one process that are shown in words.
const USES_SHOWN: usize = 3;

/// Unmount what icecore mounted
///
/// Takes off mounts of icecore only, also those whose process has died. Who still uses a mount is
/// waited for and named: process, name, user, and what it holds. After the wait the exit code is
/// 11, and the mount stays, unless --lazy. A plain user sees only their own processes.
///
/// Without --lazy and --wait, 5 seconds are waited: enough for a program that is about to end.
///
/// Where a process was killed and cannot end, since the kernel waits for it, its mount is ended:
/// who waits for an answer of it gets an error. --force does so with any mount.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore umount /mnt/back
  icecore umount --wait 10min /mnt/back
  icecore umount --wait 30s --lazy /mnt/back
  icecore umount --force /mnt/back")]
pub(crate) struct Umount {
    /// Where it is mounted
    #[arg(required = true)]
    mountpoint: Vec<PathBuf>,

    /// Wait at most so long until nobody uses it, like 30s or 10min
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration)]
    wait: Option<Duration>,

    /// Take it off the tree, after the wait if --wait is given, else now; it ends when the last who
    /// uses it is done
    #[arg(short = 'z', long)]
    lazy: bool,

    /// Fail whatever is waited for on it, and take it off now: for a mount that does not answer
    #[arg(short, long, conflicts_with_all = ["wait", "lazy"])]
    force: bool,
}

/// How long is waited unless told.
const WAIT: Duration = Duration::from_secs(5);

impl Umount {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let wait = self.wait.unwrap_or(if self.lazy { Duration::ZERO } else { WAIT });
        for mountpoint in &self.mountpoint {
            if self.force {
                fuse::umount(mountpoint, Readers::Fail)?;
                continue;
            }
            take_off(cx, mountpoint, wait, self.lazy)?;
        }
        let points = || self.mountpoint.iter().map(|point| bytes(point));
        cx.report(
            || json!({ "unmounted": points().map(as_json::path).collect::<Vec<_>>() }),
            || points().map(|point| format!("unmounted {}\n", text::escaped(point))).collect(),
        )?;
        Ok(Exit::Done)
    }
}

fn take_off(cx: &Context, mountpoint: &Path, wait: Duration, lazy: bool) -> anyhow::Result<()> {
    let talks = !cx.global.quiet && !cx.global.json;
    let mut told = None;
    let mut tell = |users: &Users| {
        if talks {
            let point = text::escaped(bytes(mountpoint)).into_owned();
            talk_error(&format!("{point} is in use, waiting up to {}", text::duration(wait)));
            lines(users).iter().for_each(|line| talk(line));
        }
        told = Some(users.clone());
    };
    match fuse::umount_within(mountpoint, wait, &mut tell) {
        Err(FuseError::Busy { .. }) if lazy => {
            fuse::umount(mountpoint, Readers::Outlive)?;
            Ok(())
        }
        Err(FuseError::Busy { mountpoint }) => {
            let users = fuse::users(&mountpoint).unwrap_or_default();
            if talks && told.as_ref() != Some(&users) {
                lines(&users).iter().for_each(|line| talk(line));
            }
            Err(in_use(&mountpoint, &users).into())
        }
        result => Ok(result?),
    }
}

fn in_use(mountpoint: &Path, users: &Users) -> CliError {
    let message = match summary(users) {
        Some(by) => format!("{} is in use by {by}", mountpoint.display()),
        None => format!("{} is in use", mountpoint.display()),
    };
    let mut hint =
        "--wait gives them longer; --lazy takes it off now and ends when they do; --force fails \
         what they wait for, where the mount does not answer"
            .to_owned();
    if users.hidden {
        hint.push_str("; root also sees processes of other users");
    } else if summary(users).is_none() {
        hint.push_str(
            "; no process holds it: look for loop devices, overlays and NFS exports of it",
        );
    }
    CliError::in_use(message).hint(hint).more(as_fields(users))
}

/// The users in a few words, for one line, as they are: whoever shows it escapes it. `None` where
/// none is seen.
pub(crate) fn summary(users: &Users) -> Option<String> {
    let processes =
        users.processes.iter().map(|user| format!("process {} ({})", user.pid, user.command));
    let mounts = users.mounts.iter().map(|point| format!("the mount on {}", point.display()));
    let all: Vec<_> = processes.chain(mounts).collect();
    let shown = all.get(..USES_SHOWN).unwrap_or(&all).join(", ");
    match (all.len(), all.len().saturating_sub(USES_SHOWN)) {
        (0, _) => None,
        (_, 0) => Some(shown),
        (_, more) => Some(format!("{shown} and {more} more")),
    }
}

fn name(owners: &Owners, uid: u32) -> String {
    let owner = owners.owner(uid, 0);
    if owner.user.is_empty() { uid.to_string() } else { owner.user.clone() }
}

/// A line for each user.
fn lines(users: &Users) -> Vec<String> {
    let owners = Owners::new();
    let process = |user: &User| {
        let uses: Vec<_> = user.uses.iter().take(USES_SHOWN).map(words).collect();
        let more = user.uses.len().saturating_sub(USES_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (command, name) = (text::escaped(user.command.as_bytes()), name(&owners, user.uid));
        format!("  {} {command} of {name}: {}{more}", user.pid, uses.join(", "))
    };
    let mounts = users.mounts.iter();
    let mounts = mounts.map(|point| format!("  mounted on it: {}", text::escaped(bytes(point))));
    let hidden = users.hidden.then(|| "  processes of other users are not seen".to_owned());
    users.processes.iter().map(process).chain(mounts).chain(hidden).collect()
}

fn words((how, path): &(Use, PathBuf)) -> String {
    let path = text::escaped(bytes(path));
    match how {
        Use::Directory => format!("works in {path}"),
        Use::Root => format!("has {path} as its root"),
        Use::Program => format!("runs {path}"),
        Use::Open => format!("has {path} open"),
        Use::Mapped => format!("has {path} mapped"),
    }
}

const fn word(how: Use) -> &'static str {
    match how {
        Use::Directory => "directory",
        Use::Root => "root",
        Use::Program => "program",
        Use::Open => "open",
        Use::Mapped => "mapped",
    }
}

fn as_fields(users: &Users) -> Map<String, Value> {
    let owners = Owners::new();
    let process = |user: &User| {
        let uses = user.uses.iter();
        let uses =
            uses.map(|(how, at)| json!({ "how": word(*how), "path": as_json::path(bytes(at)) }));
        json!({
            "pid": user.pid, "uid": user.uid, "user": name(&owners, user.uid),
            "command": user.command, "uses": uses.collect::<Vec<_>>(),
        })
    };
    let mounts: Vec<_> = users.mounts.iter().map(|point| as_json::path(bytes(point))).collect();
    let processes: Vec<_> = users.processes.iter().map(process).collect();
    Map::from_iter([
        ("users".to_owned(), processes.into()),
        ("mounts".to_owned(), mounts.into()),
        ("others_unseen".to_owned(), users.hidden.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_fit_one_line() {
        let user = |pid| User {
            pid,
            uid: 0,
            command: "a\nb".into(),
            uses: vec![(Use::Open, "/m/f".into()); 5],
        };
        let users = |count| Users { processes: (0..count).map(user).collect(), ..Users::default() };
        assert_eq!(summary(&users(0)), None);
        assert_eq!(summary(&users(1)).unwrap(), "process 0 (a\nb)");
        assert!(summary(&users(5)).unwrap().ends_with(" and 2 more"));
        let lines = lines(&users(1));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("  0 a\\x0ab of root: has /m/f open, "), "{lines:?}");
        assert!(lines[0].ends_with(" and 2 more"), "{lines:?}");
    }
}
