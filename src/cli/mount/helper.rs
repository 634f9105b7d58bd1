//! What mount(8) calls: `mount.icecore REPOSITORY MOUNTPOINT [-fnsv] [-N NS] [-t TYPE] [-o OPTIONS]`.
//!
//! For the type `icecore` mount(8) runs `mount.icecore`, a link to this program, and for
//! `fuse.icecore` it runs `mount.fuse.icecore` where that is a link, else mount.fuse3(8), which
//! calls `icecore REPOSITORY MOUNTPOINT -o OPTIONS` through the shell. All of that becomes the
//! command line of `icecore mount`.
//!
//! mount(8) adds `rw` to whatever a line of fstab says unless that has `ro`, so `rw` is no mistake
//! of a user's that could be refused; the mount is read-only all the same.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::ExitCode;

use crate::ops::path;

use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::progress::talk;

/// What a run as a helper tells mount(8), as mount(8) itself would.
pub(crate) fn exit(exit: Exit) -> ExitCode {
    ExitCode::from(match exit {
        Exit::Done => 0,
        Exit::Usage => 1,
        _ => 32,
    })
}

/// Names that the program goes by where it is a helper.
const NAMES: [&str; 2] = ["mount.icecore", "mount.fuse.icecore"];

/// Whether mount(8) calls: by the name, or as mount.fuse3(8) calls a file system, by a first
/// argument that is a path, which no command is.
pub(crate) fn is_call(args: &[OsString]) -> bool {
    let name = args.first().and_then(|name| Path::new(name).file_name());
    let has = |part: &str| args.iter().skip(3).any(|arg| arg == part);
    name.is_some_and(|name| NAMES.iter().any(|own| name == *own))
        || (args.get(1).is_some_and(|first| first.as_bytes().starts_with(b"/")) && has("-o"))
}

/// What mount(8) asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Call {
    /// The command line of `icecore mount`.
    pub(crate) args: Vec<OsString>,
    /// Only check the options.
    pub(crate) fake: bool,
}

/// Reads the helper's arguments.
pub(crate) fn parse(args: &[OsString]) -> Result<Call, CliError> {
    let (mut paths, mut options) = (Vec::new(), Vec::new());
    let (mut fake, mut sloppy, mut verbose) = (false, false, false);
    let mut rest = args.iter().skip(1);
    while let Some(arg) = rest.next() {
        let bytes = arg.as_bytes();
        if paths.len() < 2 && !bytes.starts_with(b"-") {
            paths.push(arg.clone());
            continue;
        }
        let Some(flags) = bytes.strip_prefix(b"-") else { return Err(usage(arg)) };
        for (at, flag) in flags.iter().enumerate() {
            let mut value = || match flags.get(at + 1..) {
                Some([]) | None => rest.next().cloned().unwrap_or_default(),
                Some(value) => OsString::from_vec(value.to_vec()),
            };
            match flag {
                b'f' => fake = true,
                b's' => sloppy = true,
                b'v' => verbose = true,
                b'n' => {}
                b'o' => options.extend(split(value().as_bytes())),
                b't' => drop(value()),
                _ => return Err(usage(arg)),
            }
            if matches!(flag, b'o' | b't') {
                break;
            }
        }
    }
    let Ok([repository, mountpoint]) = <[OsString; 2]>::try_from(paths) else {
        return Err(usage(OsStr::new("")));
    };
    let mut call = Line { sloppy, ..Line::default() };
    options.iter().try_for_each(|option| call.take(option))?;
    let mut line: Vec<OsString> = vec!["icecore".into()];
    line.push(if verbose { "--verbose" } else { "--quiet" }.into());
    line.extend(["-r".into(), repository.clone()]);
    let root = call.root();
    line.extend(call.global);
    line.extend(["mount".into(), "--source-name".into(), repository]);
    line.extend(root.into_iter().chain(call.local));
    line.extend(["--".into(), mountpoint]);
    Ok(Call { args: line, fake })
}

fn usage(arg: &OsStr) -> CliError {
    let what = match arg.is_empty() {
        true => "mount.icecore needs a repository and a mountpoint".into(),
        false => format!("mount.icecore does not know the argument {}", arg.display()),
    };
    let hint = "mount -t fuse.icecore REPOSITORY MOUNTPOINT -o OPTIONS; man icecore-mount";
    CliError::usage(what).hint(hint)
}

/// Cuts options at commas, but not at those in double quotes or after a backslash, which go.
fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut options, mut option, mut quoted) = (Vec::new(), Vec::new(), false);
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => option.extend(bytes.next()),
            b',' if !quoted => options.push(std::mem::take(&mut option)),
            byte => option.push(byte),
        }
    }
    options.push(option);
    options.retain(|option| !option.is_empty());
    options
}

/// Options with a value and what they are for `icecore`; in front of the command or behind it.
const GLOBAL: [&str; 5] =
    ["passphrase-file", "passphrase-command", "key-file", "cache-dir", "limit-download"];
const LOCAL: [&str; 8] = ["cache", "threads", "uid", "gid", "log", "host", "tag", "source"];
/// Options without one.
const FLAGS: [&str; 5] = ["allow-other", "map-owner", "no-export", "noexec", "power-saving"];
/// What is for mount(8), systemd or the kernel and says nothing to a mount that is read-only,
/// without devices and set-uid programs, in any case. mount(8) and mount.fuse3(8) add some of them.
const IGNORED: [&str; 30] = [
    "ro",
    "rw",
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "nousers",
    "owner",
    "group",
    "_netdev",
    "nofail",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "exec",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "async",
    "sync",
    "dirsync",
    "silent",
    "loud",
    "default_permissions",
];

#[derive(Debug, Default)]
struct Line {
    global: Vec<OsString>,
    local: Vec<OsString>,
    snapshot: Option<OsString>,
    path: Option<OsString>,
    sloppy: bool,
}

impl Line {
    fn take(&mut self, option: &[u8]) -> Result<(), CliError> {
        let at = option.iter().position(|&byte| byte == b'=').unwrap_or(option.len());
        let (name, value) = option.split_at(at);
        let value = value.strip_prefix(b"=").map(|value| OsString::from_vec(value.to_vec()));
        let name = String::from_utf8_lossy(name).into_owned();
        let word = name.replace('_', "-");
        match value {
            Some(value) if word == "snapshot" => self.snapshot = Some(value),
            Some(value) if word == "path" => self.path = Some(value),
            Some(value) if GLOBAL.contains(&word.as_str()) => {
                self.global.push(joined(&word, &value));
            }
            Some(value) if LOCAL.contains(&word.as_str()) => {
                self.local.push(joined(&word, &value));
            }
            None if FLAGS.contains(&word.as_str()) => self.local.push(format!("--{word}").into()),
            None if word == "remount" => {
                let hint = "unmount it and mount it again";
                return Err(CliError::usage("a mount of icecore cannot be changed").hint(hint));
            }
            _ if is_comment(&name) => {}
            // mount(8) tells so who mounted it.
            Some(_) if name == "user" => {}
            None if IGNORED.contains(&name.as_str()) => {}
            _ if self.sloppy => {
                talk(&format!("icecore: the mount option {name} is not known and left out"));
            }
            value => return Err(unknown(&name, value.is_some())),
        }
        Ok(())
    }

    /// `snapshot=` and `path=`, in whatever order they come, as one argument.
    fn root(&self) -> Option<OsString> {
        if self.snapshot.is_none() && self.path.is_none() {
            return None;
        }
        let snapshot = self.snapshot.as_ref().map_or(&b"latest"[..], |name| name.as_bytes());
        let Some(path) = &self.path else {
            return Some(joined("snapshot", OsStr::from_bytes(snapshot)));
        };
        let (snapshot, _) = path::split(snapshot);
        let slash: &[u8] = if path.as_bytes().starts_with(b"/") { b":" } else { b":/" };
        let whole = [snapshot, slash, path.as_bytes()].concat();
        Some(joined("snapshot", OsStr::from_bytes(&whole)))
    }
}

fn joined(word: &str, value: &OsStr) -> OsString {
    let mut argument = OsString::from(format!("--{word}="));
    argument.push(value);
    argument
}

/// What mount(8) and systemd keep to themselves.
fn is_comment(name: &str) -> bool {
    name.starts_with("x-") || name.starts_with("X-") || name == "comment" || name == "uhelper"
}

fn unknown(name: &str, has_value: bool) -> CliError {
    let word = name.replace('_', "-");
    let word = word.as_str();
    let hint = if FLAGS.contains(&word) && has_value {
        format!("{name} takes no value")
    } else if [&GLOBAL[..], &LOCAL, &["snapshot", "path"]].concat().contains(&word) {
        format!("{name} needs a value: {name}=…")
    } else {
        format!(
            "there are snapshot=, path=, {}=, {}",
            [&LOCAL[..], &GLOBAL].concat().join("=, "),
            FLAGS.join(", ").replace('-', "_")
        )
    };
    CliError::usage(format!("mount option {name} is not known")).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Vec<String>, String> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        assert!(is_call(&args), "{line}");
        let call = parse(&args).map_err(|err| err.to_string())?;
        Ok(call.args.into_iter().map(|arg| arg.into_string().unwrap()).collect())
    }

    #[test]
    fn options_become_the_command_line_of_mount() {
        let made = call(
            "/sbin/mount.icecore /b /m -n -o rw,snapshot=2026-11-22,noauto,x-systemd.automount,\
             uid=5,allow_other,password=x,path=srv/models,passphrase_file=/k -t icecore -s",
        );
        let expected = "icecore --quiet -r /b --passphrase-file=/k mount --source-name /b \
                        --snapshot=2026-11-22:/srv/models --uid=5 --allow-other -- /m";
        assert_eq!(made.unwrap().join(" "), expected);
        let made = call("icecore /b /m -o dev,suid,path=/a,snapshot=latest~1:/b").unwrap();
        assert!(made.contains(&"--snapshot=latest~1:/a".to_owned()), "{made:?}");
        let made = call("mount.fuse.icecore -fv /b -oro /m").unwrap();
        assert_eq!(
            made,
            ["icecore", "--verbose", "-r", "/b", "mount", "--source-name", "/b", "--", "/m"]
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, what) in [
            ("mount.icecore /b /m -o snapshots=latest", "mount option snapshots is not known"),
            ("mount.icecore /b /m -o allow_other=1", "mount option allow_other is not known"),
            ("mount.icecore /b /m -o uid", "mount option uid is not known"),
            ("mount.icecore /b /m -o remount,ro", "a mount of icecore cannot be changed"),
            ("mount.icecore /b -o ro", "mount.icecore needs a repository and a mountpoint"),
            ("mount.icecore /b /m /x", "mount.icecore does not know the argument /x"),
            ("mount.icecore /b /m -N 1", "mount.icecore does not know the argument -N"),
            ("mount.icecore /b /m -o group=staff", "mount option group is not known"),
            ("mount.icecore /b /m -x", "mount.icecore does not know the argument -x"),
        ] {
            assert_eq!(call(line), Err(what.to_owned()), "{line}");
        }
    }

    #[test]
    fn commas_in_quotes_and_after_backslashes_belong_to_the_value() {
        let cut = |text: &str| {
            let options = split(text.as_bytes()).into_iter();
            options.map(|option| String::from_utf8(option).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(cut(r#"a,b="c,d",,e\,f\\,"#), ["a", "b=c,d", r"e,f\"]);
        assert_eq!(cut("\\"), Vec::<String>::new());
    }

    #[test]
    fn commands_are_no_calls_of_mount() {
        for line in
            ["icecore mount /m", "icecore -r /b mount -o", "/usr/bin/icecore", "icecore /b /m"]
        {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(!is_call(&args), "{line}");
        }
    }
}
