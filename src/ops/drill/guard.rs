//! The process between the drill's world and the machine: it has a mount namespace of its own in
//! which the snapshot is mounted or to whose sight it is copied, starts the processes of the world,
//! and compares manifests (`compared`). When it ends, however it ends, all of that is gone.

mod compared;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use crate::format::SnapshotId;
use crate::ops::{OpError, Result};
use crate::repo::Repository;
use crate::strategy::file::Mode;

use super::command::this_program;
use super::namespace::{bind, leave, mount_memory};
use super::order::{Access, Event, Order, Part, Teller};
use super::world::lower;

/// The role of the process between world and machine.
pub const GUARD: &str = "guard";
/// The role of the process that mounts snapshots: it gets the order, mounts each of
/// [`shown`], says [`READY`], and serves until its standard input ends.
pub const SHOW: &str = "show";
/// The role of the process that goes into the world's namespaces.
pub const ENTER: &str = "enter";
/// What the former says on standard output when all is mounted.
pub const READY: &str = "mounted";
/// What the world's process waits for.
const GO: &[u8] = b"go\n";

/// Which snapshots are mounted, and where.
#[must_use]
pub fn shown(order: &Order) -> Vec<(SnapshotId, PathBuf)> {
    let mut ids: Vec<SnapshotId> = Vec::new();
    for part in &order.parts {
        if !ids.contains(&part.snapshot) {
            ids.push(part.snapshot);
        }
    }
    let at = |number: usize| order.folder.join("show").join(number.to_string());
    ids.into_iter().enumerate().map(|(number, id)| (id, at(number))).collect()
}

/// Leaves the machine's mount namespace. Called while this process has one thread.
pub fn begin(order: &Order) -> Result<()> {
    leave(order.is_rootless)?;
    mount_memory(&order.folder, "700")
}

/// Carries out the drill, up to its end.
///
/// # Errors
/// Where the snapshot cannot be shown, or the world ended without a word.
pub fn run(
    mut order: Order,
    open: &dyn Fn(&Order) -> Result<Repository>,
    tell: &Teller,
) -> Result<()> {
    order.sockets = listening();
    let mut guard = Guard { order, open, repo: None, shown: None };
    match guard.order.drill.mode {
        Mode::Instant => guard.shown = Some(tell.phase("mount", || guard.show())?),
        Mode::Copy => guard.copy_all(tell)?,
    }
    guard.world(tell)
}

struct Guard<'a> {
    order: Order,
    open: &'a dyn Fn(&Order) -> Result<Repository>,
    repo: Option<Repository>,
    /// The process that serves the mounts, for as long as they are needed.
    shown: Option<Killed>,
}

/// A process that ends with its holder.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // That it has ended already is no matter.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guard<'_> {
    /// Mounts the snapshots and gives each part a place of its own.
    fn show(&self) -> Result<Killed> {
        for (_, at) in shown(&self.order) {
            make_dirs(&at)?;
        }
        let failed = |err| OpError::io("start the process that mounts", err);
        let mut child = this_program(SHOW)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        send(child.stdin.as_mut(), &self.order)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let shown = Killed(child);
        if line.trim_end() != READY {
            // It has said why where the process above hears it.
            return Err(OpError::Input("cannot mount the snapshot".into()));
        }
        for (number, part) in self.order.parts.iter().enumerate() {
            let at = lower(&self.order, number);
            make_dirs(&at)?;
            bind(&self.source(part)?, &at)?;
        }
        Ok(shown)
    }

    /// A part's folder in the mount; of a file the folder that holds it.
    fn source(&self, part: &Part) -> Result<PathBuf> {
        let all = shown(&self.order);
        let at = all.iter().find(|(id, _)| *id == part.snapshot).map(|(_, at)| at);
        let path = Path::new(part.path.trim_start_matches('/'));
        let path = if part.is_directory { path } else { path.parent().unwrap_or(path) };
        at.map(|at| at.join(path)).ok_or_else(|| OpError::Input("a part has no snapshot".into()))
    }

    fn repo(&mut self) -> Result<&Repository> {
        if self.repo.is_none() {
            self.repo = Some((self.open)(&self.order)?);
        }
        self.repo.as_ref().ok_or_else(|| OpError::Input("the repository is closed".into()))
    }

    /// Starts the world and hands on what it tells.
    fn world(&mut self, tell: &Teller) -> Result<()> {
        let failed = |err| OpError::io("start the drill's world", err);
        let mut child = this_program(ENTER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut child = Killed(child);
        send(stdin.as_mut(), &Order { access: Access::default(), ..self.order.clone() })?;
        let mut is_over = false;
        for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
            let line = line.map_err(failed)?;
            let event: Event = serde_json::from_str(&line)
                .map_err(|err| OpError::Input(format!("the drill's world says {line}: {err}")))?;
            match &event {
                Event::Checked => {
                    self.compare_mounted(tell)?;
                    go(stdin.as_mut())?;
                }
                Event::Controlled => {
                    is_over = true;
                    if self.order.drill.mode == Mode::Instant {
                        self.control(tell)?;
                    }
                    go(stdin.as_mut())?;
                }
                Event::Failed { .. } => is_over = true,
                _ => {}
            }
            tell.tell(&event)?;
        }
        let status = child.0.wait().map_err(failed)?;
        match is_over {
            true => Ok(()),
            false => Err(OpError::Input(format!("the drill's world broke down: {status}"))),
        }
    }
}

fn send(stdin: Option<&mut ChildStdin>, order: &Order) -> Result<()> {
    let mut line = serde_json::to_vec(order)
        .map_err(|err| OpError::Input(format!("the drill's order cannot be told: {err}")))?;
    line.push(b'\n');
    write(stdin, &line)
}

fn go(stdin: Option<&mut ChildStdin>) -> Result<()> {
    write(stdin, GO)
}

/// That it is gone is seen where its output ends.
fn write(stdin: Option<&mut ChildStdin>, bytes: &[u8]) -> Result<()> {
    match stdin.map_or(Ok(()), |stdin| stdin.write_all(bytes)) {
        Err(err) if err.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(OpError::io("hand on the drill's order", err))
        }
        _ => Ok(()),
    }
}

fn make_dirs(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|err| OpError::io(format!("make {}", path.display()), err))
}

/// Sockets in the file system on which some server of this machine listens.
fn listening() -> Vec<PathBuf> {
    /// `__SO_ACCEPTCON`, which proc_net(5) shows in the flags.
    const LISTENS: &str = "00010000";
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let path = |line: &str| {
        let mut fields = line.split_whitespace();
        let flags = fields.nth(3)?;
        let path = fields.nth(3).filter(|path| path.starts_with('/'))?;
        (flags == LISTENS).then(|| PathBuf::from(path))
    };
    table.lines().filter_map(path).collect()
}
