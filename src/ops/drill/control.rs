//! The control: the same checks where they must fail. A check that passes here too proves nothing.
//!
//! What it shows, by kind of check:
//! - golden, sql: an answer of the same shape with other values is not taken for the one that was
//!   found, and a query reads a table;
//! - structure: a file of a component of which the first byte was changed is not taken for whole;
//! - http: when the services are stopped nobody answers in their place, and where only a status is
//!   expected a path that cannot be gets another one;
//! - all of these, and commands: where every component is empty they do not succeed. Services are
//!   started again on that. Where one is not ready, as its own files are in a component, nothing can
//!   be told of the checks that ask them; commands then run while services are stopped;
//! - manifest (outside): one flipped bit in the middle of one file is found;
//! - each component: by its manifest, or as a check fails, or a service is not ready, where it alone
//!   is damaged (`alone`).
//!
//! What none of this can tell: a check that reads its data and accepts whatever it finds there, as a
//! query of `max(n, 20000)` does.

use std::fs::OpenOptions;
use std::time::Duration;

use crate::format::DrillCheck;
use crate::ops::Result;
use crate::strategy::file::Check;
use crate::units::chain;

use super::alone;
use super::checks::{self, Ask};
use super::emptied::Emptied;
use super::manifest::flip;
use super::order::{Event, Order, Part, Teller};
use super::service::{Patience, Services};

/// Carries out all checks that a world can show to fail, and leaves the services stopped.
pub(super) fn control(
    order: &Order,
    checks: &[&Check],
    services: &mut Services,
    tell: &Teller,
) -> Result<()> {
    let say = |control: DrillCheck| tell.tell(&Event::Control(control));
    for check in checks.iter().filter(|check| checks::has_beside(check)) {
        say(checks::carry_out(check, Ask::Beside, order.snapshot_secs))?;
    }
    let patience = services.patience();
    tell.phase("stop", || {
        services.stop();
        Ok(())
    })?;
    for check in checks.iter().filter(|check| check.structure.is_some()) {
        let all: Vec<&Part> = order.parts.iter().collect();
        say(structure(order, check, &all).unwrap_or_else(|what| {
            // It shows nothing, so it must not count as failed.
            checks::done(check, Ok(what), Duration::ZERO)
        }))?;
    }
    for check in checks.iter().filter(|check| check.http.is_some()) {
        say(checks::carry_out(check, Ask::Plan, order.snapshot_secs))?;
    }
    let lone = alone::lone(order);
    let trial = Trial { order, checks, patience: &patience };
    let nothing = tell
        .phase("control: nothing restored", || trial.without(&|_| true, !lone.is_empty(), false))?;
    nothing.controls.iter().cloned().try_for_each(say)?;
    alone::control(&trial, &lone, &nothing, tell)
}

/// A check of structure while the first byte of the first file that it looks at in some parts is
/// another; else why that cannot be.
pub(super) fn structure(
    order: &Order,
    check: &Check,
    parts: &[&Part],
) -> std::result::Result<DrillCheck, String> {
    let pattern = check.structure.as_deref().unwrap_or_default();
    let path = checks::first_file(pattern, parts).ok_or("it looks at no file of a component")?;
    let failed = |err| format!("{} could not be damaged: {err}", path.display());
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed)?;
    flip(&file, 0).map_err(failed)?;
    let done = checks::carry_out(check, Ask::Plan, order.snapshot_secs);
    flip(&file, 0).map_err(failed)?;
    Ok(done)
}

/// Checks where components are empty.
pub(super) struct Trial<'a> {
    pub(super) order: &'a Order,
    /// All but manifests.
    pub(super) checks: &'a [&'a Check],
    pub(super) patience: &'a Patience,
}

/// What became of them.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// The service that was not ready, and why.
    pub(super) unready: Option<String>,
    /// What was carried out with the services as they should be: numbers of checks that failed.
    pub(super) failed: Vec<usize>,
    /// All that was carried out.
    pub(super) controls: Vec<DrillCheck>,
}

impl Trial<'_> {
    /// Empties parts and carries out the checks: first those that need no service, then with the
    /// services started again, where a check asks them or they are `wanted`. Stops at the `first`
    /// failure, if that is enough.
    pub(super) fn without(
        &self,
        is_emptied: &dyn Fn(&Part) -> bool,
        wanted: bool,
        first: bool,
    ) -> Result<Tried> {
        let emptied = self.empty(is_emptied)?;
        let tried = self.with_services(wanted, first);
        emptied.end()?;
        Ok(tried)
    }

    /// Empties parts; where services can be started they find a new `/tmp`.
    pub(super) fn empty(&self, is_emptied: &dyn Fn(&Part) -> bool) -> Result<Emptied> {
        Emptied::begin(self.order, is_emptied, !self.order.drill.services.is_empty())
    }

    fn with_services(&self, wanted: bool, first: bool) -> Tried {
        let mut tried = Tried::default();
        let is_alone = |check: &Check| !self.asks_services(check);
        self.carry_out(&is_alone, first, true, &mut tried);
        let is_over = first && !tried.failed.is_empty();
        let any = self.checks.iter().any(|check| self.asks_services(check));
        if is_over || self.order.drill.services.is_empty() || !(wanted || any) {
            return tried;
        }
        match Services::start_again(&self.order.drill, self.patience) {
            Ok(mut services) => {
                let asks = |check: &Check| self.asks_services(check);
                self.carry_out(&asks, first, true, &mut tried);
                services.stop();
            }
            Err(err) => {
                tried.unready = Some(chain(&err));
                let is_command = |check: &Check| check.command.is_some();
                if !first {
                    self.carry_out(&is_command, false, false, &mut tried);
                }
            }
        }
        tried
    }

    /// Whether a check may ask a service.
    pub(super) fn asks_services(&self, check: &Check) -> bool {
        checks::asks_services(check) && !self.order.drill.services.is_empty()
    }

    fn carry_out(
        &self,
        is_wanted: &dyn Fn(&Check) -> bool,
        first: bool,
        counts: bool,
        tried: &mut Tried,
    ) {
        for (number, check) in self.checks.iter().enumerate().filter(|(_, it)| is_wanted(it)) {
            if first && !tried.failed.is_empty() {
                return;
            }
            let done = checks::carry_out(check, Ask::Plan, self.order.snapshot_secs);
            if !done.passed && counts {
                tried.failed.push(number);
            }
            tried.controls.push(done);
        }
    }
}
