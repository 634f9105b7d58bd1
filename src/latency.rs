//! Processors that answer at once: the kernel's CPU latency request.
//!
//! A thread that is woken on a sleeping processor waits for that processor first: 25 to 100 µs in a
//! virtual machine, where what it then does takes five, so that a program which asks one small thing
//! after the other spends its time on waking. Whoever holds `/dev/cpu_dma_latency` open says how long
//! waking may take (`PM QoS`, Documentation/power/pm_qos_interface.rst). It holds for the whole
//! machine and costs power, hence nobody holds it longer than requests stream.
//!
//! What must stay true: without the right to ask (root has it) everything works the same, slower.

use std::fs::{self, File};
use std::io::Write as _;

const DEVICE: &str = "/dev/cpu_dma_latency";
const DRIVER: &str = "/sys/devices/system/cpu/cpuidle/current_driver";

/// What is asked for, in µs, where processors are real: the lightest sleep stays allowed (C1 wakes
/// within 2 µs on those that tell).
const LIGHT_SLEEP: i32 = 2;
/// Where the idle loop of a guest may poll instead of leaving the machine to its host, only zero
/// makes it: what it calls 1 µs is a way out to the host and back.
const NO_SLEEP: i32 = 0;

/// While it lives, idle processors wake at once.
#[derive(Debug)]
pub(crate) struct LowLatency {
    _held: File,
}

impl LowLatency {
    /// `None` where this process may not ask, or the kernel has no such thing.
    pub(crate) fn request() -> Option<Self> {
        let polls = fs::read(DRIVER).is_ok_and(|name| name.starts_with(b"haltpoll"));
        let micros = if polls { NO_SLEEP } else { LIGHT_SLEEP };
        let mut device = File::options().write(true).open(DEVICE).ok()?;
        // Ten characters of hexadecimal; four would be taken for a number of the machine's order.
        device.write_all(format!("{micros:#010x}").as_bytes()).ok()?;
        Some(Self { _held: device })
    }
}
