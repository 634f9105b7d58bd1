//! Services: started each after those that it needs, watched until ready, stopped in reverse.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::ops::{OpError, Result};
use crate::strategy::file::{Drill, Service};

use super::command::{Call, Running};
use super::order::Teller;
use super::probe;

/// A service is ready within so long where the plan does not say.
const READY: Duration = Duration::from_secs(60);
/// A service stops within so long, or is killed.
const STOP: Duration = Duration::from_secs(10);
/// First pause between two probes; it grows.
const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A service that is started again gets so many times what it took first,
const AGAIN_TIMES: u32 = 3;
/// and so much more.
const AGAIN_MORE: Duration = Duration::from_secs(5);

/// What runs, in the order in which it was started.
#[derive(Debug, Default)]
pub(super) struct Services(Vec<One>);

#[derive(Debug)]
struct One {
    name: String,
    signal: Option<Signal>,
    running: Running,
    /// Until it was ready.
    took: Duration,
}

/// Starts a service by its name; it, and how long it took until it was ready.
type Starter<'a> = dyn Fn(&str, &Service) -> Result<(Running, Duration)> + 'a;

/// How long each service that is started again may take until it is ready, by name.
pub(super) type Patience = BTreeMap<String, Duration>;

impl Services {
    /// Starts all, and returns when the last one is ready.
    pub(super) fn start(drill: &Drill, tell: &Teller) -> Result<Self> {
        Self::start_each(drill, &|name, service| {
            tell.phase(&format!("ready: {name}"), || start(name, service, Duration::MAX))
        })
    }

    /// Starts all once more, each with the patience that its first start has earned. Where one is
    /// not ready none is left running.
    pub(super) fn start_again(drill: &Drill, patience: &Patience) -> Result<Self> {
        Self::start_each(drill, &|name, service| {
            let most = patience.get(name).copied().unwrap_or(Duration::MAX);
            start(name, service, most)
        })
    }

    fn start_each(drill: &Drill, start: &Starter<'_>) -> Result<Self> {
        let mut started = Self::default();
        let order = drill.start_order().map_err(|ring| {
            OpError::Input(format!("these services wait for each other: {}", ring.join(", ")))
        })?;
        for name in order {
            let Some(service) = drill.services.get(name) else { continue };
            let signal = service.stop_signal.as_deref().map(signal).transpose()?;
            match start(name, service) {
                Ok((running, took)) => {
                    started.0.push(One { name: name.to_owned(), signal, running, took });
                }
                Err(err) => {
                    started.stop();
                    return Err(err);
                }
            }
        }
        Ok(started)
    }

    /// How long each may take that is started again.
    pub(super) fn patience(&self) -> Patience {
        let most = |one: &One| one.took * AGAIN_TIMES + AGAIN_MORE;
        self.0.iter().map(|one| (one.name.clone(), most(one))).collect()
    }

    /// The first one that has ended though nobody stopped it, with its end.
    pub(super) fn lost(&mut self) -> Option<String> {
        self.0.iter_mut().find_map(|One { name, running, .. }| {
            let status = running.ended()?;
            Some(format!("service {name} ended while it was needed: {status}{}", running.end()))
        })
    }

    /// Stops all, the last one first.
    pub(super) fn stop(&mut self) {
        while let Some(One { signal, mut running, .. }) = self.0.pop() {
            running.signal(signal.unwrap_or(Signal::TERM));
            if running.wait(STOP).is_none() {
                tracing::debug!("a service does not stop within {} s", STOP.as_secs());
            }
            // Also what it left behind.
            running.signal(Signal::KILL);
            running.wait(STOP);
        }
    }
}

/// Starts one; it, and how long it took until it was ready. What is not ready within its own time
/// or `most`, whichever is shorter, is killed.
fn start(name: &str, service: &Service, most: Duration) -> Result<(Running, Duration)> {
    let call = Call {
        name,
        run: &service.run,
        user: service.user.as_deref(),
        directory: service.directory.as_deref(),
        environment: Some(&service.environment),
    };
    let mut running = call.start()?;
    let start = Instant::now();
    match get_ready(name, service, &mut running, most) {
        Ok(()) => Ok((running, start.elapsed())),
        Err(what) => {
            let what = format!("service {name} {what}{}", running.end());
            // Also what it started.
            running.signal(Signal::KILL);
            running.wait(STOP);
            Err(OpError::Input(what))
        }
    }
}

/// Waits until it is ready; else what became of it.
fn get_ready(
    name: &str,
    service: &Service,
    running: &mut Running,
    most: Duration,
) -> Result<(), String> {
    let Some(probe) = &service.ready else { return Ok(()) };
    let within = probe.within.map_or(READY, |within| within.0).min(most);
    let (start, mut pause) = (Instant::now(), PAUSE);
    loop {
        if let Some(status) = running.ended() {
            return Err(format!("died before it was ready: {status}"));
        }
        let Err(seen) = probe::ask(name, probe) else { return Ok(()) };
        if start.elapsed() >= within {
            return Err(format!("is not ready within {} s: {seen}", within.as_secs_f64()));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The signal of a name, with or without `SIG`.
pub(super) fn signal(name: &str) -> Result<Signal> {
    let bare = name.to_ascii_uppercase();
    Ok(match bare.strip_prefix("SIG").unwrap_or(&bare) {
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "HUP" => Signal::HUP,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "WINCH" => Signal::WINCH,
        _ => {
            let what = format!("\"{name}\" is no signal that stops a service, like TERM or INT");
            return Err(OpError::Input(what));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        for name in ["TERM", "SIGTERM", "sigterm"] {
            assert_eq!(signal(name).unwrap(), Signal::TERM);
        }
        assert!(signal("9").is_err());
    }
}
