//! Errors as a user sees them, decided in one place: the chain in one line, a hint, an exit code.
//!
//! `icecore: cannot open repository /b: config has format 2, this icecore reads up to 1`
//! `  hint: upgrade icecore`
//!
//! With `--json` the same goes to standard error as one line of JSON.

use std::error::Error;
use std::io;

use serde_json::{Map, Value, json};

use crate::fuse::FuseError;
use crate::localfs::LocalError;
use crate::ops::OpError;
use crate::repo::RepoError;
use crate::report::json::document;
use crate::storage::StorageError;

use super::exit::Exit;
use super::output::OutputError;
use super::progress::talk;
use super::secrets;

/// What the command line itself objects to.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
    exit: Exit,
    /// What JSON has beside the message.
    more: Map<String, Value>,
}

impl CliError {
    /// Arguments that do not make sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(message, Exit::Usage)
    }

    /// Anything else.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(message, Exit::Failed)
    }

    /// Something that others use.
    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self::new(message, Exit::InUse)
    }

    /// No repository where one must be.
    pub(crate) fn no_repository(message: impl Into<String>) -> Self {
        Self::new(message, Exit::NoRepository)
    }

    /// What is stored is not as it was written.
    pub(crate) fn damage(message: impl Into<String>) -> Self {
        Self::new(message, Exit::Damage)
    }

    /// A key that opens nothing.
    pub(crate) fn wrong_key(message: impl Into<String>) -> Self {
        Self::new(message, Exit::WrongKey)
    }

    fn new(message: impl Into<String>, exit: Exit) -> Self {
        Self { message: message.into(), hint: None, exit, more: Map::new() }
    }

    /// Several failures as one; `None` where there is none. The hint is the first one's.
    pub(crate) fn all(errors: Vec<Self>) -> Option<Self> {
        let messages: Vec<&str> = errors.iter().map(|it| it.message.as_str()).collect();
        let message = messages.join("; ");
        errors.into_iter().next().map(|first| Self { message, ..first })
    }

    /// What JSON says beside the message.
    pub(crate) fn more(mut self, more: Map<String, Value>) -> Self {
        self.more = more;
        self
    }

    /// What the user can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Exit code and hint of an error.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    exit: Exit,
    hint: Option<String>,
}

impl Verdict {
    fn new(exit: Exit, hint: impl Into<String>) -> Self {
        Self { exit, hint: Some(hint.into()) }
    }

    const fn bare(exit: Exit) -> Self {
        Self { exit, hint: None }
    }
}

/// Says what went wrong, and gives the exit code. A closed pipe is said by nobody.
pub(crate) fn show(err: &anyhow::Error, json: bool) -> Exit {
    if err.downcast_ref::<OutputError>().is_some_and(OutputError::is_closed_pipe) {
        return Exit::Done;
    }
    let Verdict { exit, hint } = verdict(err);
    let message = crate::report::text::escaped(chain(err).as_bytes()).into_owned();
    if json {
        let mut error = json!({ "message": message, "hint": hint, "exit_code": exit.code() });
        if let (Some(fields), Some(said)) = (error.as_object_mut(), err.downcast_ref::<CliError>())
        {
            fields.extend(said.more.clone());
        }
        talk(&document(json!({ "error": error })).to_string());
    } else {
        talk(&format!("icecore: {message}"));
        if let Some(hint) = hint {
            talk(&format!("  hint: {hint}"));
        }
    }
    exit
}

/// One damaged object or failed entry among others, while the verb goes on.
pub(crate) fn show_damage(err: &RepoError) {
    talk_error(&crate::units::chain(err));
}

/// A line about something that does not stop the verb.
pub(crate) fn talk_error(line: &str) {
    talk(&format!("icecore: {line}"));
}

/// All messages from the outermost on. Where a message repeats its cause's words, the cause is
/// left out.
pub(crate) fn chain(err: &anyhow::Error) -> String {
    let mut line = String::new();
    for part in err.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = part;
        } else if !line.ends_with(&part) {
            line.push_str(": ");
            line.push_str(&part);
        }
    }
    line
}

/// The first error of the chain that decides.
fn verdict(err: &anyhow::Error) -> Verdict {
    err.chain().find_map(judge).unwrap_or(Verdict::bare(Exit::Failed))
}

fn judge(err: &(dyn Error + 'static)) -> Option<Verdict> {
    if let Some(err) = err.downcast_ref::<CliError>() {
        return Some(Verdict { exit: err.exit, hint: err.hint.clone() });
    }
    if let Some(err) = err.downcast_ref::<OpError>() {
        return of_op(err);
    }
    if let Some(err) = err.downcast_ref::<RepoError>() {
        return of_repo(err);
    }
    if let Some(err) = err.downcast_ref::<FuseError>() {
        return of_fuse(err);
    }
    if let Some(err) = err.downcast_ref::<StorageError>() {
        return of_storage(err);
    }
    if let Some(err) = err.downcast_ref::<LocalError>() {
        return of_local(err);
    }
    err.downcast_ref::<io::Error>().and_then(of_io)
}

fn of_op(err: &OpError) -> Option<Verdict> {
    // Transparent variants show their cause as themselves, so the chain does not hold it.
    match err {
        OpError::Repo(err) => of_repo(err),
        OpError::Local(err) => of_local(err),
        OpError::Input(_) => Some(Verdict::bare(Exit::Failed)),
        OpError::Io { source, .. } => of_io(source),
        OpError::Panicked => Some(Verdict::new(
            Exit::Failed,
            "this is a defect of icecore; nothing that was stored before is touched",
        )),
        OpError::Interrupted => Some(Verdict::bare(Exit::Interrupted)),
    }
}

fn of_repo(err: &RepoError) -> Option<Verdict> {
    use RepoError as E;
    let (exit, hint) = match err {
        E::Storage(_) if err.is_about_pack() => (Exit::Damage, of_damage(err)),
        E::Storage(err) => return of_storage(err),
        E::Base { cause, .. } => return of_repo(cause),
        E::Corrupt { object, .. } if object == "config" => (Exit::Damage, CONFIG.into()),
        E::Corrupt { .. } | E::ChunkMissing { .. } => (Exit::Damage, of_damage(err)),
        E::Unindexed { .. } => (Exit::Damage, INDEX.into()),
        E::Newer { .. } | E::Unknown { .. } => (Exit::Failed, "upgrade icecore".into()),
        E::NoRepository { location } => {
            let hint = format!(
                "`icecore init {location}` makes one; -r or ICECORE_REPOSITORY names another"
            );
            (Exit::NoRepository, hint)
        }
        E::ConfigMissing { .. } => (Exit::Damage, CONFIG.into()),
        E::RepositoryExists { location } => {
            (Exit::Failed, format!("use it: icecore -r {location} ingest …"))
        }
        E::KeyNeeded { .. } => (Exit::WrongKey, secrets::ways().into()),
        E::NotEncrypted { .. } => (
            Exit::WrongKey,
            "if it was made with --plain, give no key (unset ICECORE_PASSPHRASE and the like); if it \
             was not, its config was replaced: write nothing to it"
                .into(),
        ),
        E::WrongKey { .. } => (
            Exit::WrongKey,
            "check which passphrase or key file is meant; a key file's contents are not a \
             passphrase"
                .into(),
        ),
        E::NoSuchKey { .. } => (Exit::Failed, "`icecore key list` shows the slots".into()),
        E::LastKey { .. } => {
            (Exit::Failed, "`icecore key add` another one first, or `icecore key passwd`".into())
        }
        E::NoSuchSnapshot { .. } => (
            Exit::Failed,
            "`icecore snapshots` lists them, with --forgotten those that are forgotten; latest, latest~1, the start of an id (4 digits) and \
             times like 2026-11-22 name one"
                .into(),
        ),
        E::UncertainSnapshot { cause, .. } if cause.is_newer() => return of_repo(cause),
        E::UncertainSnapshot { cause, .. } => {
            let object = cause.object();
            let id = object.strip_prefix("snapshots/").unwrap_or(&object);
            let hint = format!(
                "`icecore repair snapshots --from REPLICA` brings it back, `icecore forget {id}` gives \
                 it up; or name by its id what `icecore snapshots` lists"
            );
            (Exit::Damage, hint)
        }
        E::BeingPruned { .. } => {
            (Exit::InUse, "a prune decided that it goes; ingest its sources again".into())
        }
        E::TooManyTags { .. } => (Exit::Failed, "remove some, or choose fewer".into()),
        E::AmbiguousSnapshot { .. } => (Exit::Failed, "give more digits of the id".into()),
        E::NoSuchPath { snapshot, .. } => {
            (Exit::Failed, format!("`icecore ls {}:/` shows what is there", snapshot.short()))
        }
        E::Evicted { .. } => {
            (Exit::Failed, "run it again: what it stored is used, not written anew".into())
        }
        E::TooLarge { .. } | E::Codec(_) | E::SessionFailed { .. } => {
            return Some(Verdict::bare(Exit::Failed));
        }
        E::Interrupted => return Some(Verdict::bare(Exit::Interrupted)),
    };
    Some(Verdict { exit, hint: Some(hint) })
}

const CONFIG: &str = "put the file `config` back from a copy of the repository; a new repository needs \
                      an empty folder";
/// The way on where content is lost for good, and successors say so.
pub(crate) const GIVE_UP: &str = "`icecore repair packs --forget` forgets the snapshots of which \
                                  successors say what they lost; then `icecore prune` goes on";
/// The way out where packs are in no segment, or segments cannot be read.
pub(crate) const INDEX: &str = "`icecore repair index` builds the index anew from the packs";
const VERIFY: &str = "`icecore verify --read-data` finds what else is damaged";
/// The way out where a pack is damaged or lost, as long as its sources are there.
pub(crate) const MEND: &str = "`icecore repair packs` heals what can be healed and sets the rest \
                               aside; then `icecore ingest --force` the same sources: what they \
                               still hold is stored again";

/// Folders of small records.
pub(crate) const RECORDS: [&str; 8] =
    ["snapshots", "forgotten", "tags", "pins", "sessions", "gc", "settings", "ledger"];
/// The way out where a small record is damaged.
pub(crate) const RECORDS_HINT: &str = "`icecore repair snapshots` tells what can be done about \
                                       damaged snapshots and records, and does it";

/// What to do about damage of stored content.
fn of_damage(err: &RepoError) -> String {
    let object = err.object();
    let is_record = object.split_once('/').is_some_and(|(folder, _)| RECORDS.contains(&folder));
    match err.is_about_pack() {
        true => format!("{VERIFY}; {MEND}"),
        false if is_record => RECORDS_HINT.into(),
        false if object.starts_with("index") => INDEX.into(),
        false if object.starts_with("keys/") => {
            format!(
                "put {object} back from a copy of the repository's files, or open with another key"
            )
        }
        false => VERIFY.into(),
    }
}

fn of_storage(err: &StorageError) -> Option<Verdict> {
    match err {
        StorageError::NotFound { .. }
        | StorageError::Short { .. }
        | StorageError::TooLong { .. } => Some(Verdict::new(Exit::Damage, VERIFY)),
        StorageError::AlreadyExists { .. } => Some(Verdict::bare(Exit::Failed)),
        StorageError::Full { .. } => Some(Verdict::new(
            Exit::Failed,
            "free some space and run it again: earlier snapshots are untouched, finished packs \
             are used",
        )),
        StorageError::Io { source, .. } => of_io(source),
        StorageError::Poisoned { .. } => Some(Verdict::new(
            Exit::Failed,
            "look at the disk (dmesg), then run it again: earlier snapshots are untouched",
        )),
    }
}

fn of_fuse(err: &FuseError) -> Option<Verdict> {
    use FuseError as E;
    let (exit, hint) = match err {
        E::Busy { mountpoint } => {
            (Exit::InUse, format!("`icecore umount {}` tells who uses it", mountpoint.display()))
        }
        E::AlreadyMounted { mountpoint, .. } => (
            Exit::InUse,
            format!("use it, or take it off first: icecore umount {}", mountpoint.display()),
        ),
        E::Dead { mountpoint } => {
            (Exit::InUse, format!("take it off first: icecore umount {}", mountpoint.display()))
        }
        E::OverRepository { .. } => {
            (Exit::Failed, "choose a mountpoint outside of the repository".into())
        }
        E::Mount { .. } => (
            Exit::Failed,
            "/dev/fuse is needed, and fusermount3 (package fuse3) where one is not root".into(),
        ),
        E::NotMounted { .. } => {
            (Exit::Failed, "`findmnt -t fuse.icecore` lists what is mounted".into())
        }
        // What lies behind these decides.
        E::Mountpoint { .. }
        | E::NotDirectory { .. }
        | E::Repo(_)
        | E::Unmount { .. }
        | E::Daemon { .. }
        | E::Ended { .. } => return None,
    };
    Some(Verdict { exit, hint: Some(hint) })
}

fn of_local(err: &LocalError) -> Option<Verdict> {
    of_io(&err.source)
}

fn of_io(err: &io::Error) -> Option<Verdict> {
    match err.kind() {
        io::ErrorKind::ResourceBusy => {
            Some(Verdict::new(Exit::InUse, "find out who uses it: fuser -vm PATH"))
        }
        io::ErrorKind::PermissionDenied => {
            Some(Verdict::new(Exit::Failed, "run it as root, or as the owner"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn repo(err: RepoError) -> anyhow::Error {
        anyhow::Error::new(err)
    }

    #[test]
    fn transparent_layers_are_seen_through_and_said_once() {
        let newer = || RepoError::Newer { object: "config".into(), found: 2, supported: 1 };
        let err = Err::<(), _>(OpError::Repo(newer())).context("cannot open repository /b");
        let err = err.unwrap_err();
        assert_eq!(
            chain(&err),
            "cannot open repository /b: config has format 2, this icecore reads up to 1"
        );
        assert_eq!(verdict(&err), Verdict::new(Exit::Failed, "upgrade icecore"));
        let (object, what) = ("packs/1".into(), "block codec 9".into());
        let unknown = repo(RepoError::Unknown { object, what });
        assert_eq!(chain(&unknown), "packs/1 has block codec 9, which this icecore does not know");
        assert_eq!(verdict(&unknown), Verdict::new(Exit::Failed, "upgrade icecore"));
        let source = io::Error::from_raw_os_error(5);
        let storage = StorageError::Io {
            action: "read",
            what: "config".into(),
            location: "/b".into(),
            source,
        };
        let err = anyhow::Error::new(OpError::Repo(RepoError::Storage(storage)));
        assert_eq!(chain(&err), "cannot read config in /b: Input/output error (os error 5)");
    }

    #[test]
    fn each_class_of_error_has_its_exit_code() {
        let location = || String::from("/b");
        let busy = OpError::io("unmount /m", io::Error::from_raw_os_error(16));
        for (err, exit) in [
            (repo(RepoError::NoRepository { location: location() }), Exit::NoRepository),
            (repo(RepoError::WrongKey { location: location() }), Exit::WrongKey),
            (repo(RepoError::KeyNeeded { location: location() }), Exit::WrongKey),
            (repo(RepoError::Corrupt { object: "x".into(), what: "y".into() }), Exit::Damage),
            (repo(RepoError::NoSuchSnapshot { name: "x".into() }), Exit::Failed),
            (anyhow::Error::new(OpError::Interrupted), Exit::Interrupted),
            (anyhow::Error::new(busy), Exit::InUse),
            (CliError::usage("x").into(), Exit::Usage),
            (anyhow::anyhow!("anything"), Exit::Failed),
        ] {
            assert_eq!(verdict(&err).exit, exit, "{err}");
        }
    }
}
