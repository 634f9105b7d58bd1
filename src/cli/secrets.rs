//! Where the secret comes from: a flag, else the environment, else a credential of the systemd
//! service, else the terminal.
//!
//! Bytes are kept in types that wipe them and cannot be printed. A passphrase is any bytes up to
//! an optional newline at the end; a key file counts whole.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use crate::ops::OpError;
use crate::repo::Secret;

use super::error::CliError;
use super::exit::Exit;
use super::global::SecretOptions;

/// A key file with fewer bytes is more likely a mistake than a key.
const KEY_FILE_MIN: usize = 16;
/// Enough for any key; keeps `/dev/zero` from filling the memory.
const SECRET_MAX: u64 = 1 << 20;

/// The environment variables of the secret that opens a repository, in the order they are tried.
pub(crate) const ENVIRONMENT: [&str; 4] = [
    "ICECORE_PASSPHRASE",
    "ICECORE_PASSPHRASE_FILE",
    "ICECORE_KEY_FILE",
    "ICECORE_PASSPHRASE_COMMAND",
];
/// The same of the repository that is copied to.
pub(crate) const TO_ENVIRONMENT: [&str; 4] = [
    "ICECORE_TO_PASSPHRASE",
    "ICECORE_TO_PASSPHRASE_FILE",
    "ICECORE_TO_KEY_FILE",
    "ICECORE_TO_PASSPHRASE_COMMAND",
];
/// The environment variable of a new passphrase.
pub(crate) const NEW_PASSPHRASE: &str = "ICECORE_NEW_PASSPHRASE";

/// Credentials of a systemd service that are the secret where neither flag nor variable says
/// otherwise; systemd.exec(5) puts them into the folder that this variable names.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The credential that is a passphrase.
pub(crate) const PASSPHRASE_CREDENTIAL: &str = "icecore.passphrase";
/// The credential that is a key file.
pub(crate) const KEY_CREDENTIAL: &str = "icecore.key";

/// How long the passphrase command may take; somebody may have to type something for it.
const COMMAND_MAX: Duration = Duration::from_secs(120);

const WAYS: &str = "give --key-file, --passphrase-file or --passphrase-command, or set \
                    ICECORE_PASSPHRASE, ICECORE_PASSPHRASE_FILE, ICECORE_KEY_FILE or \
                    ICECORE_PASSPHRASE_COMMAND";

/// What a key file is wanted for, which decides what helps where it is missing.
#[derive(Debug, Clone, Copy)]
enum Use {
    /// It opens a repository that exists: only one of its own does.
    Open,
    /// It will open one: any that is made now.
    Make,
}

/// The secret that opens a repository; `None` where there is none and nobody to ask.
pub(crate) fn existing(options: &SecretOptions, location: &str) -> anyhow::Result<Option<Secret>> {
    if let Some(secret) = stated(options)? {
        return Ok(Some(secret));
    }
    asked(location)
}

/// The secret of a new repository.
pub(crate) fn initial(options: &SecretOptions) -> anyhow::Result<Secret> {
    match stated_for(options, Use::Make)? {
        Some(secret) => Ok(secret),
        None if can_ask() => ask_twice("passphrase of the new repository: "),
        None => Err(CliError::usage("no key for the new repository")
            .hint(format!("{WAYS}; --plain makes a repository without encryption"))
            .into()),
    }
}

/// A further secret for a repository that exists.
pub(crate) fn new(
    key_file: Option<&Path>,
    passphrase_file: Option<&Path>,
) -> anyhow::Result<Secret> {
    if let Some(path) = key_file {
        return read_key_file(path, Use::Make);
    }
    if let Some(path) = passphrase_file {
        return read_passphrase_file(path);
    }
    if let Some(text) = std::env::var_os(NEW_PASSPHRASE) {
        return checked_passphrase(text.into_vec(), NEW_PASSPHRASE);
    }
    if can_ask() {
        return ask_twice("new passphrase: ");
    }
    let hint = format!("give --new-key-file or --new-passphrase-file, or set {NEW_PASSPHRASE}");
    Err(CliError::usage("no new key").hint(hint).into())
}

/// What to do when a key is needed and none was given.
pub(crate) const fn ways() -> &'static str {
    WAYS
}

/// A secret for a process of our own, through a pipe: what it is, then its bytes.
pub(crate) fn to_pipe(secret: Option<&Secret>) -> Zeroizing<Vec<u8>> {
    let (kind, bytes) = match secret {
        None => return Zeroizing::default(),
        Some(Secret::Passphrase(bytes)) => (b'p', bytes),
        Some(Secret::KeyFile(bytes)) => (b'k', bytes),
    };
    let mut out = Zeroizing::new(Vec::with_capacity(1 + bytes.expose_secret().len()));
    out.push(kind);
    out.extend_from_slice(bytes.expose_secret());
    out
}

/// What [`to_pipe`] wrote.
pub(crate) fn from_pipe(bytes: &[u8]) -> Option<Secret> {
    let (kind, bytes) = bytes.split_first()?;
    let bytes = SecretSlice::from(bytes.to_vec());
    match kind {
        b'p' => Some(Secret::Passphrase(bytes)),
        _ => Some(Secret::KeyFile(bytes)),
    }
}

/// The secret of a repository that exists, as flags or the environment name it; flags go first.
pub(crate) fn stated(options: &SecretOptions) -> anyhow::Result<Option<Secret>> {
    stated_for(options, Use::Open)
}

/// The secret of the repository that is copied to, where it has one of its own.
pub(crate) fn stated_to(options: &SecretOptions) -> anyhow::Result<Option<Secret>> {
    match flagged(options, Use::Open)? {
        None => in_environment(TO_ENVIRONMENT, Use::Open),
        secret => Ok(secret),
    }
}

/// The passphrase of a repository, asked for on the terminal; `None` where nobody is to be asked.
pub(crate) fn asked(location: &str) -> anyhow::Result<Option<Secret>> {
    if !can_ask() {
        return Ok(None);
    }
    let passphrase = ask(&format!("passphrase of {location}: "))?;
    Ok(Some(checked_passphrase(passphrase, "the passphrase")?))
}

fn stated_for(options: &SecretOptions, usage: Use) -> anyhow::Result<Option<Secret>> {
    if options.given() > 1 {
        let what = "give one of --key-file, --passphrase-file and --passphrase-command";
        return Err(CliError::usage(what).into());
    }
    if let Some(secret) = flagged(options, usage)? {
        return Ok(Some(secret));
    }
    match in_environment(ENVIRONMENT, usage)? {
        None => credential(usage),
        secret => Ok(secret),
    }
}

fn flagged(options: &SecretOptions, usage: Use) -> anyhow::Result<Option<Secret>> {
    if let Some(path) = &options.key_file {
        return read_key_file(path, usage).map(Some);
    }
    if let Some(path) = &options.passphrase_file {
        return read_passphrase_file(path).map(Some);
    }
    if let Some(command) = &options.passphrase_command {
        return run(command.as_ref()).map(Some);
    }
    Ok(None)
}

/// The secret that the first of these variables that is set holds or names: a passphrase, its file,
/// a key file, a command.
fn in_environment(names: [&str; 4], usage: Use) -> anyhow::Result<Option<Secret>> {
    let set = names
        .into_iter()
        .enumerate()
        .find_map(|(at, name)| Some((at, name, std::env::var_os(name)?)));
    let Some((at, name, value)) = set else { return Ok(None) };
    let secret = match at {
        0 => checked_passphrase(value.into_vec(), name),
        1 => read_passphrase_file(&PathBuf::from(value)),
        2 => read_key_file(&PathBuf::from(value), usage),
        _ => run(&value),
    };
    secret.map(Some)
}

impl Use {
    /// What to do about a key file that is missing or none.
    fn hint(self, path: &Path) -> String {
        match self {
            Self::Open => "name the file that the repository was made with, or that `icecore key \
                           add` was given; a new one opens nothing"
                .into(),
            Self::Make => format!("`head -c 32 /dev/urandom > {}` makes one", path.display()),
        }
    }
}

fn read_key_file(path: &Path, usage: Use) -> anyhow::Result<Secret> {
    let mut bytes = read_capped(path, "key file").map_err(|err| {
        let missing = err
            .downcast_ref::<io::Error>()
            .is_some_and(|err| err.kind() == io::ErrorKind::NotFound);
        if missing {
            let what = format!("no key file {}", path.display());
            CliError::failed(what).hint(usage.hint(path)).into()
        } else {
            err
        }
    })?;
    if bytes.len() < KEY_FILE_MIN {
        let what = format!(
            "key file {} has {} bytes, at least {KEY_FILE_MIN} are needed",
            path.display(),
            bytes.len()
        );
        return Err(CliError::failed(what).hint(usage.hint(path)).into());
    }
    Ok(Secret::KeyFile(SecretSlice::from(std::mem::take(&mut *bytes))))
}

fn read_passphrase_file(path: &Path) -> anyhow::Result<Secret> {
    let mut bytes = read_capped(path, "passphrase file")?;
    checked_passphrase(std::mem::take(&mut *bytes), &format!("passphrase file {}", path.display()))
}

fn read_capped(path: &Path, what: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let context = || format!("cannot read {what} {}", path.display());
    let file = File::open(path).with_context(context)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(SECRET_MAX + 1).read_to_end(&mut bytes).with_context(context)?;
    if bytes.len() as u64 > SECRET_MAX {
        let what = format!("{what} {} has more than {SECRET_MAX} bytes", path.display());
        return Err(CliError::failed(what).into());
    }
    Ok(bytes)
}

/// The secret that systemd hands to this service, if it does.
fn credential(usage: Use) -> anyhow::Result<Option<Secret>> {
    let Some(folder) = std::env::var_os(CREDENTIALS).map(PathBuf::from) else { return Ok(None) };
    let there = |name| Some(folder.join(name)).filter(|path: &PathBuf| path.exists());
    if let Some(path) = there(KEY_CREDENTIAL) {
        return read_key_file(&path, usage).map(Some);
    }
    there(PASSPHRASE_CREDENTIAL).map(|path| read_passphrase_file(&path)).transpose()
}

/// Runs a command by sh; it may talk to the terminal, its standard output is the passphrase.
fn run(command: &OsStr) -> anyhow::Result<Secret> {
    run_within(command, COMMAND_MAX)
}

fn run_within(command: &OsStr, max: Duration) -> anyhow::Result<Secret> {
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .context("cannot run the passphrase command")?;
    let stdout = child.stdout.take().context("the passphrase command has no output")?;
    let (sender, output) = mpsc::channel();
    // Whoever inherits the pipe may keep it open, so it is read where nobody waits for it.
    std::thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::new());
        let read = stdout.take(SECRET_MAX + 1).read_to_end(&mut bytes);
        sender.send(read.map(|_| bytes))
    });
    let Ok(read) = output.recv_timeout(max) else {
        // What it started may go on; nobody waits for that either.
        let _ = child.kill();
        let what = format!("the passphrase command has not ended within {} s", max.as_secs());
        let hint = "run it by hand to see what it waits for";
        return Err(CliError::failed(what).hint(hint).into());
    };
    let mut bytes = read.context("cannot read what the passphrase command prints")?;
    if bytes.len() as u64 > SECRET_MAX {
        let _ = child.kill();
        let what = format!("the passphrase command prints more than {SECRET_MAX} bytes");
        return Err(CliError::failed(what).into());
    }
    let status = child.wait().context("cannot wait for the passphrase command")?;
    if !status.success() {
        let what = format!("the passphrase command failed: {status}");
        return Err(CliError::failed(what).into());
    }
    checked_passphrase(std::mem::take(&mut *bytes), "the passphrase command's output")
}

/// Cuts one newline (or CR LF) from the end and refuses what is empty then.
fn checked_passphrase(mut bytes: Vec<u8>, whence: &str) -> anyhow::Result<Secret> {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        return Err(CliError::failed(format!("{whence} is empty")).into());
    }
    Ok(Secret::Passphrase(SecretSlice::from(bytes)))
}

/// Whether there is a person to ask: rpassword reads the controlling terminal, whatever standard
/// input is.
fn can_ask() -> bool {
    File::open("/dev/tty").is_ok_and(|tty| tty.is_terminal())
}

fn ask(prompt: &str) -> anyhow::Result<Vec<u8>> {
    let _echo = EchoGuard::new()?;
    match rpassword::prompt_password(prompt) {
        Ok(text) => Ok(text.into_bytes()),
        Err(err) if err.kind() == io::ErrorKind::Interrupted => Err(OpError::Interrupted.into()),
        Err(err) => Err(err).context("cannot read the passphrase"),
    }
}

/// While a prompt has the terminal's echo switched off, an interruption must switch it on again:
/// the shell that started us may not.
struct EchoGuard(signal_hook::iterator::Handle);

impl EchoGuard {
    fn new() -> anyhow::Result<Self> {
        let terminal = File::open("/dev/tty").context("cannot open the terminal")?;
        let before = rustix::termios::tcgetattr(&terminal).context("cannot ask the terminal")?;
        let signals = [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM];
        let mut signals =
            signal_hook::iterator::Signals::new(signals).context("cannot take signals")?;
        let handle = signals.handle();
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                let now = rustix::termios::OptionalActions::Now;
                let _ = rustix::termios::tcsetattr(&terminal, now, &before);
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        });
        Ok(Self(handle))
    }
}

impl Drop for EchoGuard {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn ask_twice(prompt: &str) -> anyhow::Result<Secret> {
    let first = checked_passphrase(ask(prompt)?, "the passphrase")?;
    let second = checked_passphrase(ask("the same again: ")?, "the passphrase")?;
    let same = match (&first, &second) {
        (Secret::Passphrase(a), Secret::Passphrase(b)) => a.expose_secret() == b.expose_secret(),
        _ => false,
    };
    if same { Ok(first) } else { Err(CliError::failed("the passphrases are not the same").into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(bytes: &[u8]) -> Option<Vec<u8>> {
        match checked_passphrase(bytes.to_vec(), "it") {
            Ok(Secret::Passphrase(text)) => Some(text.expose_secret().to_vec()),
            _ => None,
        }
    }

    #[test]
    fn one_newline_is_cut_and_no_more() {
        for (given, kept) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("a\r", "a\r")]
        {
            assert_eq!(passphrase(given.as_bytes()).as_deref(), Some(kept.as_bytes()), "{given:?}");
        }
    }

    #[test]
    fn secrets_come_through_a_pipe_as_what_they_are() {
        let through = |secret: Option<Secret>| from_pipe(&to_pipe(secret.as_ref()));
        assert!(through(None).is_none());
        let bytes = || SecretSlice::from(b"p\0\n".to_vec());
        assert!(matches!(
            through(Some(Secret::Passphrase(bytes()))),
            Some(Secret::Passphrase(text)) if text.expose_secret() == b"p\0\n"
        ));
        assert!(matches!(
            through(Some(Secret::KeyFile(bytes()))),
            Some(Secret::KeyFile(key)) if key.expose_secret() == b"p\0\n"
        ));
    }

    #[test]
    fn empty_passphrases_are_refused() {
        assert_eq!(passphrase(b""), None);
        assert_eq!(passphrase(b"\n"), None);
    }

    #[test]
    fn a_passphrase_command_that_hangs_or_floods_is_an_error() {
        let run = |command: &str, max| run_within(OsStr::new(command), max);
        let failed = |result: anyhow::Result<Secret>| match result {
            Ok(_) => panic!("it gave a passphrase"),
            Err(err) => err.to_string(),
        };
        let hangs = failed(run("echo half; exec sleep 600", Duration::from_millis(50)));
        assert_eq!(hangs, "the passphrase command has not ended within 0 s");
        let floods = failed(run("exec yes", COMMAND_MAX));
        assert!(floods.starts_with("the passphrase command prints more than "), "{floods}");
        let fails = failed(run("echo x; exit 3", COMMAND_MAX));
        assert_eq!(fails, "the passphrase command failed: exit status: 3");
        assert!(matches!(
            run("echo secret", COMMAND_MAX),
            Ok(Secret::Passphrase(text)) if text.expose_secret() == b"secret"
        ));
    }

    #[test]
    fn short_and_endless_key_files_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; KEY_FILE_MIN - 1]).unwrap();
        assert!(read_key_file(file.path(), Use::Open).is_err());
        std::fs::write(file.path(), [b'\n'; KEY_FILE_MIN]).unwrap();
        assert!(matches!(
            read_key_file(file.path(), Use::Open),
            Ok(Secret::KeyFile(bytes)) if bytes.expose_secret().len() == KEY_FILE_MIN
        ));
        assert!(read_key_file(Path::new("/dev/zero"), Use::Make).is_err());
    }
}
