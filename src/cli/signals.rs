//! Interruption: while a repository is opened, SIGINT and SIGTERM end the program; after that the
//! first asks the verb to stop, the second ends at once, after what must not stay was undone. SIGHUP of
//! a terminal that was closed asks too, however often it comes: shell and kernel both send it. What
//! `nohup` started goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::{SigId, flag, low_level};

use crate::ops::OpError;
use crate::sync::lock;

use super::error::show;
use super::exit::Exit;

/// Set once the user wants it to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    wanted: Arc<AtomicBool>,
    /// Whether the signals are taken over: twice, and the first one would end the program.
    is_installed: Arc<AtomicBool>,
    /// What is done at a signal.
    actions: Arc<Mutex<Vec<SigId>>>,
}

impl Interrupt {
    /// Takes the signals over. Called after a passphrase was asked for, so that ^C at the prompt
    /// still ends the program. Once is enough, more does no harm.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        if self.is_installed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        if !is_ignored(SIGHUP) {
            flag::register(SIGHUP, Arc::clone(&self.wanted)).context("cannot take signals")?;
        }
        self.act()
    }

    fn act(&self) -> anyhow::Result<()> {
        let mut actions = lock(&self.actions);
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second signal finds the flag that the first has set.
            let code = i32::from(Exit::Interrupted.code());
            let ends = flag::register_conditional_shutdown(signal, code, Arc::clone(&self.wanted));
            actions.push(ends.context("cannot take signals")?);
            let asks = flag::register(signal, Arc::clone(&self.wanted));
            actions.push(asks.context("cannot take signals")?);
        }
        Ok(())
    }

    /// While what this gives lives, the second signal ends the program only after `undo`; the third
    /// does so at once.
    pub(crate) fn undoing(&self, undo: fn()) -> anyhow::Result<Undoing<'_>> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot take signals")?;
        let handle = signals.handle();
        for action in lock(&self.actions).drain(..) {
            low_level::unregister(action);
        }
        let wanted = self.shared();
        let ended = || std::process::exit(i32::from(Exit::Interrupted.code()));
        let wait = move || {
            let mut is_ending = false;
            for _ in signals.forever() {
                if !wanted.swap(true, Ordering::Relaxed) {
                    continue;
                }
                let begin = move || {
                    undo();
                    ended()
                };
                let begun = !std::mem::replace(&mut is_ending, true)
                    && std::thread::Builder::new().spawn(begin).is_ok();
                if !begun {
                    ended();
                }
            }
        };
        std::thread::Builder::new().spawn(wait).context("cannot start a thread")?;
        Ok(Undoing { interrupt: self, handle })
    }

    /// As if a signal had come.
    pub(crate) fn set(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// The flag as the verbs want it.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.wanted
    }

    /// The flag for who keeps it.
    pub(crate) fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.wanted)
    }

    /// An error once the user wants to stop; for loops of the command line itself.
    pub(crate) fn check(&self) -> Result<(), OpError> {
        if self.wanted.load(Ordering::Relaxed) { Err(OpError::Interrupted) } else { Ok(()) }
    }
}

/// Whether whoever started this program wants the signal to be ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}

/// See [`Interrupt::undoing`].
#[must_use]
pub(crate) struct Undoing<'a> {
    interrupt: &'a Interrupt,
    handle: Handle,
}

impl Drop for Undoing<'_> {
    fn drop(&mut self) {
        // In this order no signal is lost.
        if let Err(err) = self.interrupt.act() {
            tracing::error!("{err:#}");
        }
        self.handle.close();
    }
}

/// While this lives, the first signal ends the program, whatever its threads wait for. For as long
/// as nothing was begun that must be brought to an end.
///
/// Who goes on with signals of its own takes them first and drops this then: in between none is lost.
#[must_use]
pub(crate) struct EndsAtOnce(Handle);

impl EndsAtOnce {
    /// From now on; says so as any error is said.
    pub(crate) fn begin(json: bool) -> anyhow::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot take signals")?;
        let handle = signals.handle();
        let wait = move || {
            if signals.forever().next().is_some() {
                let exit = show(&OpError::Interrupted.into(), json);
                std::process::exit(i32::from(exit.code()));
            }
        };
        std::thread::Builder::new().spawn(wait).context("cannot start a thread")?;
        Ok(Self(handle))
    }
}

impl Drop for EndsAtOnce {
    fn drop(&mut self) {
        self.0.close();
    }
}
