//! What a drill showed, from what it found: pure.

use std::time::Duration;

use crate::format::{COMPONENT, DrillCheck, DrillResult, Drilled, SAMPLE};

/// What a control tells of a query that would give the same on other data.
pub(super) const NO_TABLE: &str =
    "no table was read for it; name a table of yours in the query's `from`";

/// Age or length for people.
fn span(ns: u64) -> String {
    let secs = ns / 1_000_000_000;
    match secs {
        0..120 => format!("{:.1} s", Duration::from_nanos(ns).as_secs_f64()),
        120..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// Result and cause. `stopped` says why it came to no end, where it did not.
///
/// A stale snapshot is told before all else but what stopped the drill: what is checked of it may
/// differ for that very reason.
#[must_use]
pub fn judge(drilled: &Drilled, stopped: Option<&str>) -> (DrillResult, String) {
    let failed = |cause: String| (DrillResult::Failed, cause);
    if let Some(cause) = stopped {
        return failed(cause.to_owned());
    }
    if let Some(target) = drilled.rpo_target_ns.filter(|target| drilled.rpo_ns > *target) {
        let (age, target) = (span(drilled.rpo_ns), span(target));
        return failed(format!("the snapshot is {age} old, the RPO is {target}"));
    }
    if let Some(check) = drilled.checks.iter().find(|check| !check.passed) {
        return failed(format!("{} \"{}\": {}", check.kind, check.name, check.told));
    }
    if let Some(target) = drilled.rto_target_ns.filter(|target| drilled.rto_ns > *target) {
        let (took, target) = (span(drilled.rto_ns), span(target));
        let took = match drilled.extrapolated_ns() {
            0 => format!("it took {took}"),
            extrapolated => {
                let measured = span(drilled.rto_ns.saturating_sub(extrapolated));
                format!("it took {measured} with samples, which makes {took} for all of it")
            }
        };
        return failed(format!("{took}, the RTO is {target}"));
    }
    let is_statement = |check: &&DrillCheck| check.kind == SAMPLE;
    if drilled.checks.iter().all(|check| is_statement(&check)) {
        let cause = "it has no checks; add at least manifest = \"COMPONENT\"";
        return (DrillResult::ProvesNothing, cause.into());
    }
    let unshown = drilled.checks.iter().filter(|check| !is_statement(check)).find(|check| {
        let same = |control: &&_| same(check, control);
        !drilled.control.iter().any(|control| same(&control))
    });
    if let Some(check) = unshown {
        let cause = format!("{} \"{}\" was not seen to fail", check.kind, check.name);
        return (DrillResult::ProvesNothing, cause);
    }
    let passed = |control: &&DrillCheck| control.passed && control.kind != COMPONENT;
    if let Some(control) = drilled.control.iter().find(passed) {
        let (kind, name, told) = (&control.kind, &control.name, &control.told);
        // Of a query that reads nothing it was not tried.
        let cause = match told.contains(NO_TABLE) {
            true => format!("{kind} \"{name}\" tells nothing of the data: {told}"),
            false => format!("{kind} \"{name}\" also passes on damaged data: {told}"),
        };
        return (DrillResult::ProvesNothing, cause);
    }
    let mut unseen = drilled.components.iter().filter_map(|it| unseen(drilled, &it.name));
    match unseen.next() {
        Some(cause) => (DrillResult::ProvesNothing, cause),
        None => (DrillResult::Proven, String::new()),
    }
}

/// Why nothing shows that a component matters; `None` where it was compared, or something failed
/// where it alone was damaged.
fn unseen(drilled: &Drilled, name: &str) -> Option<String> {
    let of = |kind: &str| {
        let mut control = drilled.control.iter();
        control.find(|control| control.kind == kind && control.name == name)
    };
    if of("manifest").is_some_and(|control| !control.passed) {
        return None;
    }
    let told = match of(COMPONENT) {
        Some(control) if !control.passed => return None,
        Some(control) => control.told.as_str(),
        None => "it was not seen to matter",
    };
    Some(format!("component {name}: {told}; add manifest = \"{name}\""))
}

fn same(check: &DrillCheck, control: &DrillCheck) -> bool {
    check.kind == control.kind && (check.kind == "manifest" || check.name == control.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{DrilledComponent, SnapshotId, Time};

    fn check(name: &str, passed: bool) -> DrillCheck {
        let told = format!("told of {name}");
        DrillCheck { name: name.into(), kind: "http".into(), passed, duration_ns: 1, told }
    }

    fn sample() -> DrillCheck {
        let duration_ns = 40_000_000_000;
        DrillCheck { kind: SAMPLE.into(), duration_ns, ..check("c", true) }
    }

    fn drilled() -> Drilled {
        Drilled {
            name: "d".into(),
            mode: "instant".into(),
            started: Time { secs: 0, nanos: 0 },
            duration_ns: 5,
            components: Vec::new(),
            phases: Vec::new(),
            checks: vec![check("a", true)],
            control: vec![check("a", false)],
            rto_ns: 60_000_000_000,
            rto_target_ns: Some(60_000_000_000),
            rpo_ns: 3_600_000_000_000,
            rpo_target_ns: Some(3_600_000_000_000),
            result: DrillResult::Proven,
            cause: String::new(),
        }
    }

    #[test]
    fn each_component_must_be_seen_to_matter() {
        let component = |name: &str| DrilledComponent {
            name: name.into(),
            source: "s".into(),
            snapshot: SnapshotId([1; 16]),
            time: Time { secs: 0, nanos: 0 },
        };
        let control = |name: &str, kind: &str, passed| DrillCheck {
            kind: kind.into(),
            ..check(name, passed)
        };
        let of = |control: Vec<DrillCheck>| {
            let components = vec![component("b"), component("c")];
            let control = control.into_iter().chain([check("a", false)]).collect();
            judge(&Drilled { components, control, ..drilled() }, None)
        };
        let c = || control("c", COMPONENT, false);
        assert_eq!(of(vec![control("b", "manifest", false), c()]).0, DrillResult::Proven);
        assert_eq!(of(vec![control("b", COMPONENT, false), c()]).0, DrillResult::Proven);
        for (controls, told) in [
            (
                vec![control("b", COMPONENT, true), c()],
                "component b: told of b; add manifest = \"b\"",
            ),
            (vec![c()], "component b: it was not seen to matter; add manifest = \"b\""),
            (vec![control("b", "http", false), c()], "component b: it was not seen to matter"),
        ] {
            let (result, cause) = of(controls);
            assert_eq!(result, DrillResult::ProvesNothing, "{cause}");
            assert!(cause.starts_with(told), "{cause}");
        }
    }

    #[test]
    fn all_must_hold_and_the_control_must_not() {
        let day = 86_400_000_000_000;
        let (failed, nothing) = (DrillResult::Failed, DrillResult::ProvesNothing);
        assert_eq!(judge(&drilled(), None), (DrillResult::Proven, String::new()));
        for (drilled, result, told) in [
            (Drilled { checks: vec![check("a", false)], ..drilled() }, failed, "told of a"),
            (Drilled { rpo_ns: 3 * day, ..drilled() }, failed, "the snapshot is 3 days old"),
            (Drilled { rto_ns: day, ..drilled() }, failed, "it took 24 h, the RTO is 60.0 s"),
            (Drilled { control: vec![check("a", true)], ..drilled() }, nothing, "also passes"),
            (
                Drilled {
                    control: vec![DrillCheck { told: NO_TABLE.into(), ..check("a", true) }],
                    ..drilled()
                },
                nothing,
                "\"a\" tells nothing of the data: no table was read for it; name a table",
            ),
            (Drilled { control: vec![], ..drilled() }, nothing, "\"a\" was not seen to fail"),
            (Drilled { checks: vec![], ..drilled() }, nothing, "it has no checks"),
            (Drilled { checks: vec![sample()], ..drilled() }, nothing, "it has no checks"),
            (
                Drilled {
                    checks: vec![sample(), check("a", true)],
                    rto_ns: 70_000_000_000,
                    ..drilled()
                },
                failed,
                "it took 30.0 s with samples, which makes 70.0 s for all of it, the RTO is 60.0 s",
            ),
        ] {
            let (found, cause) = judge(&drilled, None);
            assert_eq!(found, result, "{cause}");
            assert!(cause.contains(told), "{cause}");
        }
        let sampled = Drilled { checks: vec![sample(), check("a", true)], ..drilled() };
        assert_eq!(judge(&sampled, None).0, DrillResult::Proven, "a statement needs no control");
        assert_eq!(judge(&drilled(), Some("dead")), (failed, "dead".into()));
    }
}
