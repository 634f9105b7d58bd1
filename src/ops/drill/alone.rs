//! Whether each component matters: where it alone is damaged, a check fails or a service is not
//! ready. One of which nobody would see that it is lost is not proven to be restored.
//!
//! A component whose manifest is compared needs nothing of this. What is seen to fail counts only
//! where it does not fail as well when the services are started again and nothing is damaged.

use crate::format::{COMPONENT, DrillCheck};
use crate::ops::Result;
use crate::strategy::file::Mode;
use crate::units::chain;

use super::checks::{self, Ask};
use super::control::{Trial, Tried, structure};
use super::order::{Event, Order, Part, Teller};
use super::service::Services;

/// What showed that a component matters.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// The structure of a file of it: needs no second look.
    Structure(String),
    /// The check of this number.
    Check(usize),
    /// A service was not ready.
    Unready(String),
    /// Nothing did.
    Nothing,
}

/// Names of the components that no manifest covers. Of a copy all are compared.
pub(super) fn lone(order: &Order) -> Vec<&str> {
    let is_compared = |name: &str| {
        let mut checks = order.drill.checks.iter();
        order.drill.mode == Mode::Copy
            || checks.any(|check| check.manifest.as_deref() == Some(name))
    };
    let names = order.drill.components.keys().map(String::as_str);
    names.filter(|name| !is_compared(name)).collect()
}

/// Tells of each of these components whether it matters. `nothing` is what became of the checks where
/// all are empty.
pub(super) fn control(
    trial: &Trial<'_>,
    lone: &[&str],
    nothing: &Tried,
    tell: &Teller,
) -> Result<()> {
    let mut all = Vec::new();
    for name in lone {
        let start_ns = tell.elapsed_ns();
        let seen = tell.phase(&format!("control: {name}"), || look(trial, name, nothing))?;
        all.push((*name, seen, tell.elapsed_ns().saturating_sub(start_ns)));
    }
    let again = Again::of(trial, all.iter().map(|(_, seen, _)| seen), tell)?;
    for (name, seen, duration_ns) in all {
        let (passed, told) = again.judge(trial, &seen);
        let (name, kind) = (name.to_owned(), COMPONENT.to_owned());
        tell.tell(&Event::Control(DrillCheck { name, kind, passed, duration_ns, told }))?;
    }
    Ok(())
}

/// What shows that a component matters; the cheapest is looked at first.
fn look(trial: &Trial<'_>, name: &str, nothing: &Tried) -> Result<Seen> {
    let own = |part: &Part| part.component == name;
    let parts: Vec<&Part> = trial.order.parts.iter().filter(|part| own(part)).collect();
    for check in trial.checks.iter().filter(|check| check.structure.is_some()) {
        if let Ok(DrillCheck { passed: false, told, .. }) = structure(trial.order, check, &parts) {
            return Ok(Seen::Structure(told));
        }
    }
    if parts.len() == trial.order.parts.len() {
        return Ok(Seen::of(nothing));
    }
    Ok(Seen::of(&trial.without(&own, true, true)?))
}

impl Seen {
    fn of(tried: &Tried) -> Self {
        match (tried.failed.first(), &tried.unready) {
            (Some(&number), _) => Self::Check(number),
            (None, Some(what)) => Self::Unready(what.clone()),
            (None, None) => Self::Nothing,
        }
    }
}

/// What fails even though nothing is damaged.
struct Again {
    unready: Option<String>,
    /// Checks that were carried out once more and failed, by number.
    failed: Vec<(usize, String)>,
}

impl Again {
    /// Looks a second time at all that was seen, with nothing damaged.
    fn of<'s>(
        trial: &Trial<'_>,
        seen: impl Iterator<Item = &'s Seen> + Clone,
        tell: &Teller,
    ) -> Result<Self> {
        let by_check = |seen: &Seen| match seen {
            Seen::Check(number) => Some(*number),
            _ => None,
        };
        let mut numbers: Vec<usize> = seen.clone().filter_map(by_check).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let asks = |number: &usize| {
            trial.checks.get(*number).is_some_and(|check| trial.asks_services(check))
        };
        let is_unready = |seen: &Seen| matches!(seen, Seen::Unready(_));
        let needs = numbers.iter().any(asks) || seen.clone().any(is_unready);
        let mut again = Self { unready: None, failed: Vec::new() };
        if !needs && numbers.is_empty() {
            return Ok(again);
        }
        tell.phase("control: nothing damaged", || again.look(trial, &numbers, needs))?;
        Ok(again)
    }

    /// Carries out these checks, and commands before them, which they may build on.
    fn look(&mut self, trial: &Trial<'_>, numbers: &[usize], needs: bool) -> Result<()> {
        let emptied = trial.empty(&|_| false)?;
        let mut services = None;
        if needs {
            match Services::start_again(&trial.order.drill, trial.patience) {
                Ok(started) => services = Some(started),
                Err(err) => self.unready = Some(chain(&err)),
            }
        }
        let last = numbers.last().copied();
        for (number, check) in trial.checks.iter().enumerate() {
            let is_before = check.command.is_some() && last.is_some_and(|last| number < last);
            let is_asked = numbers.contains(&number);
            if is_asked || is_before {
                let done = checks::carry_out(check, Ask::Plan, trial.order.snapshot_secs);
                if !done.passed && is_asked {
                    self.failed.push((number, done.told));
                }
            }
        }
        services.iter_mut().for_each(Services::stop);
        emptied.end()
    }

    /// Whether nothing shows that a component matters, and what was seen.
    fn judge(&self, trial: &Trial<'_>, seen: &Seen) -> (bool, String) {
        let (told, again) = match seen {
            Seen::Structure(told) => return (false, told.clone()),
            Seen::Nothing => return (true, "no check fails when it alone is damaged".to_owned()),
            Seen::Unready(what) => (what.clone(), self.unready.clone()),
            Seen::Check(number) => {
                let check = trial.checks.get(*number);
                let named =
                    check.map(|it| format!("{} \"{}\"", checks::kind(it), checks::name(it)));
                let failed = self.failed.iter().find(|(other, _)| other == number);
                // A service that is not there explains why a check of it fails.
                let asks = check.is_some_and(|check| trial.asks_services(check));
                let unready = self.unready.clone().filter(|_| asks);
                let failed = failed.map(|(_, told)| cause(told, unready.as_deref()));
                (format!("{} fails", named.unwrap_or_default()), failed)
            }
        };
        match again {
            None => (false, told),
            Some(what) => (
                true,
                format!(
                    "what shows its loss ({told}) fails as well when the drill starts its services \
                     again with nothing damaged: {what}"
                ),
            ),
        }
    }
}

/// Why a check fails: a service that was not ready, where one was not, says more than the check.
fn cause(told: &str, unready: Option<&str>) -> String {
    unready.map_or_else(|| told.to_owned(), |unready| format!("{unready} ({told})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_was_not_ready_is_told_before_what_the_check_says() {
        assert_eq!(cause("Connection refused", None), "Connection refused");
        let told = cause("Connection refused", Some("service db: not ready within 5 s: no space"));
        assert_eq!(told, "service db: not ready within 5 s: no space (Connection refused)");
    }
}
