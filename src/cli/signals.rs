//! Interruption: while a repository is opened, SIGINT and SIGTERM end the program; after that the
//! first asks the verb to stop, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use crate::ops::OpError;

use super::error::show;
use super::exit::Exit;

/// Set once the user wants it to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes the signals over. Called after a passphrase was asked for, so that ^C at the prompt
    /// still ends the program.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second signal finds the flag that the first has set.
            let code = i32::from(Exit::Interrupted.code());
            flag::register_conditional_shutdown(signal, code, Arc::clone(&self.0))
                .and_then(|_| flag::register(signal, Arc::clone(&self.0)))
                .context("cannot take signals")?;
        }
        Ok(())
    }

    /// As if a signal had come.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The flag as the verbs want it.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// The flag for who keeps it.
    pub(crate) fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// An error once the user wants to stop; for loops of the command line itself.
    pub(crate) fn check(&self) -> Result<(), OpError> {
        if self.0.load(Ordering::Relaxed) { Err(OpError::Interrupted) } else { Ok(()) }
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
