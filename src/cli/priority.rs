//! How much of the machine a command may claim while others want it too.

use anyhow::Context as _;
use clap::Args;
use rustix::process;

/// Nice value and I/O class, inherited by every thread that starts later.
#[derive(Debug, Args)]
pub(crate) struct Priority {
    /// Give way to other programs on the processor, 0 to 19; see nice(1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=19))]
    #[arg(allow_hyphen_values = true)]
    nice: Option<u8>,

    /// Use the disk only when nobody else does; see ionice(1). Needs an I/O scheduler that heeds it
    #[arg(long)]
    io_idle: bool,
}

impl Priority {
    /// Takes effect for this thread and those that it starts.
    pub(crate) fn apply(&self) -> anyhow::Result<()> {
        if let Some(nice) = self.nice {
            let now = process::getpriority_process(None).unwrap_or(0);
            // A lower value than the present one needs rights, and nobody means that by "nice".
            process::setpriority_process(None, i32::from(nice).max(now))
                .context("cannot set the nice value")?;
        }
        if self.io_idle {
            set_io_idle().context("cannot set the I/O class")?;
        }
        Ok(())
    }
}

/// `ioprio_set(2)`: for the calling thread, the idle class.
fn set_io_idle() -> std::io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3;
    const CLASS_SHIFT: libc::c_int = 13;
    // SAFETY: takes three integers and touches no memory.
    #[expect(unsafe_code)]
    let result =
        unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE << CLASS_SHIFT) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
