//! Serving in the background: a command that returns once the mount can be used.
//!
//! Without fork (which is unsafe once there are threads), the program starts itself again. The
//! child's standard streams carry all that is to be said, so no descriptor is passed by number:
//!
//! ```text
//! stdin   the secret, then its end        (never in arguments or the environment)
//! stdout  the line READY once mounted     (closed unsaid: the child failed)
//! stderr  the parent's, until ready       (warnings and the error go where the user looks)
//! ```
//! When ready the child has its own session (no terminal, no hang-up), works in `/` and has its
//! streams on /dev/null or a log file, so that it holds nothing of who started it. What must stay
//! true: the parent ends with success only after the child said READY.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use zeroize::Zeroizing;

use super::error::{FuseError, Result};

const READY: &str = "icecore: the mount is ready";
/// Cap on what is read as a secret.
const SECRET_MAX: u64 = 1 << 20;

/// How the child began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launched {
    /// It is mounted and serves.
    Ready {
        /// The child's process id.
        pid: u32,
    },
    /// It failed and has said so on stderr.
    Failed {
        /// What the caller should exit with.
        code: i32,
    },
}

fn failed<T>(action: &'static str) -> impl FnOnce(io::Error) -> Result<T> {
    move |source| Err(FuseError::Daemon { action, source })
}

/// Starts this program again with `args`, gives it `secret`, and waits until it is ready or gone.
/// It does not get the environment variables `hidden`, those that state secrets: it would show
/// them in `/proc` for as long as it serves. `started` gets its process id while it is waited for.
///
/// The child must call [`Background::begin`] and later [`Background::ready`]. Paths in `args` must
/// be absolute where they are used after that.
///
/// # Errors
/// Where the program cannot be started; the child's own failure is [`Launched::Failed`].
pub fn launch<'a>(
    args: impl IntoIterator<Item = OsString>,
    secret: &[u8],
    hidden: impl IntoIterator<Item = &'a str>,
    started: impl FnOnce(u32),
) -> Result<Launched> {
    let mut command = Command::new("/proc/self/exe");
    command
        // Not this process's own name, which may be the one that mount(8) calls.
        .arg0("icecore")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for name in hidden {
        command.env_remove(name);
    }
    let mut child = command.spawn().or_else(failed("start the background process"))?;
    started(child.id());
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(secret) {
            // It ended early and says why itself.
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => {}
            result => result.or_else(failed("hand the key to the background process"))?,
        }
    }
    if said_ready(&mut child) {
        return Ok(Launched::Ready { pid: child.id() });
    }
    let status = child.wait().or_else(failed("wait for the background process"))?;
    // Killed by a signal, or over without a word: a failure all the same.
    let code = status.code().filter(|&code| code != 0).unwrap_or(1);
    Ok(Launched::Failed { code })
}

fn said_ready(child: &mut Child) -> bool {
    let Some(stdout) = child.stdout.take() else { return false };
    BufReader::new(stdout)
        .split(b'\n')
        .map_while(|line| line.ok())
        .any(|line| line == READY.as_bytes())
}

/// In the child: the way from being started to serving in the background.
#[derive(Debug)]
#[must_use = "the parent waits until `ready` is called"]
pub struct Background(());

impl Background {
    /// Takes the secret from stdin.
    ///
    /// # Errors
    /// Where stdin cannot be read.
    pub fn begin() -> Result<(Self, Zeroizing<Vec<u8>>)> {
        let mut secret = Zeroizing::new(Vec::new());
        let read = io::stdin().lock().take(SECRET_MAX).read_to_end(&mut secret);
        read.or_else(failed("read the key from the starting process"))?;
        Ok((Self(()), secret))
    }

    /// Tells the parent that the mount can be used, and lets go of all it had from it. What is
    /// written to stdout and stderr from then on goes to the end of `log`, or nowhere.
    ///
    /// Only here it leaves the parent's session. A mountpoint of autofs(5) is open to the process
    /// group of automount(8) alone while it is being mounted: any other that looks at it waits for
    /// the mount, and so would this one for itself.
    ///
    /// # Errors
    /// Where the log cannot be opened; then the parent was told nothing and the caller must end.
    pub fn ready(self, log: Option<&Path>) -> Result<()> {
        let mut options = OpenOptions::new();
        let sink = match log {
            Some(path) => options.append(true).create(true).open(path),
            None => options.write(true).open("/dev/null"),
        };
        let sink = sink.or_else(failed("open the log file"))?;
        let nothing = File::open("/dev/null").or_else(failed("open /dev/null"))?;
        if let Err(err) = rustix::process::setsid() {
            tracing::debug!("still in the session of the parent: {err}");
        }
        std::env::set_current_dir("/").or_else(failed("change to /"))?;
        let mut stdout = io::stdout().lock();
        let told = writeln!(stdout, "{READY}").and_then(|()| stdout.flush());
        // A parent that is gone was killed: the mount is still wanted.
        told.unwrap_or_else(|err| tracing::warn!("nobody waits for the mount: {err}"));
        let detach = || {
            rustix::stdio::dup2_stdin(&nothing)?;
            rustix::stdio::dup2_stdout(&sink)?;
            rustix::stdio::dup2_stderr(&sink)
        };
        detach().map_err(io::Error::from).or_else(failed("let go of the standard streams"))
    }
}
