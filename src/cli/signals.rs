//! Interruption: the first SIGINT or SIGTERM asks the verb to stop, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

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

    /// The flag as the verbs want it.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// The flag for who keeps it.
    pub(crate) fn shared(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// An error once the user wants to stop; for loops of the command line itself.
    pub(crate) fn check(&self) -> Result<(), crate::ops::OpError> {
        if self.0.load(Ordering::Relaxed) { Err(crate::ops::OpError::Interrupted) } else { Ok(()) }
    }
}
