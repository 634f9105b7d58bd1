//! What is wrong with a drill of the strategy file.

use std::collections::BTreeSet;
use std::path::Path;

use super::Found;
use crate::strategy::file::{Check, Drill, Golden, Mode, Probe, Strategy};

pub(super) fn check(strategy: &Strategy, at: &str, drill: &Drill, found: &mut Found) {
    if drill.every.is_some() && drill.calendar.is_some() {
        found.error(at, "only one of these may be there: every, calendar");
    }
    if let Some(calendar) = &drill.calendar {
        found.calendar(&format!("{at}.calendar"), calendar);
    }
    found.every(at, drill.every);
    if let Some(from) =
        drill.from.as_ref().filter(|from| !strategy.repositories.contains_key(*from))
    {
        found.error(format!("{at}.from"), format!("there is no repository {from}"));
    }
    if drill.components.is_empty() {
        found.error(format!("{at}.components"), "there is none, so nothing is restored");
    }
    for (name, component) in &drill.components {
        let at = format!("{at}.components.{name}");
        if !strategy.sources.contains_key(&component.source) {
            found.error(&at, format!("there is no source {}", component.source));
        }
        component.at.iter().for_each(|path| found.absolute(&at, path));
        if component.sample.is_some() && drill.mode == Mode::Instant {
            let what = "an instant drill restores nothing that a sample could be of; \
                        add mode = \"copy\"";
            found.error(format!("{at}.sample"), what);
        }
    }
    for path in drill.writable.iter().chain(&drill.scratch) {
        found.absolute(at, path);
    }
    check_services(at, drill, found);
    for (number, check) in drill.checks.iter().enumerate() {
        check_check(&format!("{at}.checks[{number}]"), drill, check, found);
    }
    if drill.checks.is_empty() {
        found.warning(at, "it checks nothing; add at least [[…checks]] manifest = \"COMPONENT\"");
        return;
    }
    check_repositories(strategy, at, drill, found);
    for name in drill.components.keys().filter(|name| !may_be_seen(strategy, drill, name)) {
        let what =
            format!("no check looks at it, so the drill proves nothing; add manifest = \"{name}\"");
        found.warning(format!("{at}.components.{name}"), what);
    }
}

/// Components come from one repository.
fn check_repositories(strategy: &Strategy, at: &str, drill: &Drill, found: &mut Found) {
    let sources = drill.components.values().filter_map(|it| strategy.sources.get(&it.source));
    let firsts = sources.filter_map(|source| strategy.places_of(source).first().copied());
    let firsts: BTreeSet<&str> = firsts.collect();
    if drill.from.is_none() && firsts.len() > 1 {
        let all = firsts.into_iter().collect::<Vec<_>>().join(", ");
        let what = format!(
            "its components are in several repositories ({all}), so it cannot be carried out; name \
             one that has all, with from = \"…\""
        );
        found.warning(at, what);
    }
}

/// Whether a check may fail where this component is damaged; where the file does not tell, it may.
fn may_be_seen(strategy: &Strategy, drill: &Drill, name: &str) -> bool {
    let is_compared = |check: &Check| check.manifest.as_deref() == Some(name);
    if drill.mode == Mode::Copy
        || !drill.services.is_empty()
        || drill.checks.iter().any(is_compared)
    {
        return true;
    }
    let Some(component) = drill.components.get(name) else { return true };
    let source = strategy.sources.get(&component.source);
    let stored = || source.map(|it| it.paths.iter().chain(&it.sqlite).cloned().collect::<Vec<_>>());
    let one = component.at.clone().or_else(|| component.path.clone()).map(|path| vec![path]);
    let places = one.or_else(stored).unwrap_or_default();
    let touches = |path: &str| {
        let plain = path.split(['*', '?', '[', '{']).next().unwrap_or_default();
        places.iter().any(|at| Path::new(path).starts_with(at) || at.starts_with(plain))
    };
    let looks = |check: &Check| {
        let sqlite = check.sql.as_ref().and_then(|sql| sql.sqlite.as_deref());
        match check.structure.as_deref().or(sqlite) {
            Some(path) => touches(path),
            None => check.manifest.is_none(),
        }
    };
    places.is_empty() || drill.checks.iter().any(looks)
}

fn check_services(at: &str, drill: &Drill, found: &mut Found) {
    for (name, service) in &drill.services {
        let at = format!("{at}.services.{name}");
        if service.run.is_empty() {
            found.error(format!("{at}.run"), "there is nothing to run");
        }
        for other in service.after.iter().filter(|other| !drill.services.contains_key(*other)) {
            found.error(format!("{at}.after"), format!("there is no service {other}"));
        }
        if let Some(Probe { http, tcp, unix, command, .. }) = &service.ready {
            let ways = [
                ("http", http.is_some()),
                ("tcp", tcp.is_some()),
                ("unix", unix.is_some()),
                ("command", command.is_some()),
            ];
            found.one_of(&format!("{at}.ready"), &ways);
        }
    }
    if let Err(ring) = drill.start_order() {
        found.error(
            format!("{at}.services"),
            format!("these wait for each other: {}", ring.join(", ")),
        );
    }
}

impl Drill {
    /// The services, each after those that it needs; else those that wait for each other.
    pub fn start_order(&self) -> Result<Vec<&str>, Vec<&str>> {
        let mut order: Vec<&str> = Vec::new();
        let mut left: BTreeSet<&str> = self.services.keys().map(String::as_str).collect();
        while !left.is_empty() {
            let waits = |name: &&str| {
                let after = self.services.get(*name).map(|service| service.after.as_slice());
                after.unwrap_or_default().iter().any(|other| left.contains(other.as_str()))
            };
            let next: Vec<&str> = left.iter().copied().filter(|name| !waits(name)).collect();
            if next.is_empty() {
                return Err(left.into_iter().collect());
            }
            for name in next {
                left.remove(name);
                order.push(name);
            }
        }
        Ok(order)
    }
}

fn check_check(at: &str, drill: &Drill, check: &Check, found: &mut Found) {
    let ways = [
        ("manifest", check.manifest.is_some()),
        ("http", check.http.is_some()),
        ("golden", check.golden.is_some()),
        ("sql", check.sql.is_some()),
        ("structure", check.structure.is_some()),
        ("command", check.command.is_some()),
    ];
    found.one_of(at, &ways);
    if let Some(name) = check.manifest.as_ref().filter(|name| !drill.components.contains_key(*name))
    {
        found.error(at, format!("there is no component {name}"));
    }
    let of_http = check.status.is_some() || check.body.is_some() || check.json.is_some();
    if of_http && check.http.is_none() {
        found.error(at, "status, body and json belong to http");
    }
    check.golden.iter().for_each(|golden| check_golden(at, golden, found));
    check.structure.iter().for_each(|pattern| found.absolute(&format!("{at}.structure"), pattern));
    if let Some(query) = &check.sql {
        let ways = [("sqlite", query.sqlite.is_some()), ("postgres", query.postgres.is_some())];
        found.one_of(&format!("{at}.sql"), &ways);
        if query.min.is_none() && query.fresh.is_none() {
            found.error(format!("{at}.sql"), "it expects nothing; add min or fresh");
        }
    }
}

/// Tolerances that mean something.
fn check_golden(at: &str, golden: &Golden, found: &mut Found) {
    if !(golden.tolerance.is_finite() && golden.tolerance >= 0.0) {
        found.error(format!("{at}.golden.tolerance"), "it must be 0 or more, like 1e-5");
    } else if golden.tolerance >= 1.0 {
        let what = format!(
            "{} takes any number for the known one, since it is a part of it; write one below 1, like \
             1e-5",
            golden.tolerance
        );
        found.error(format!("{at}.golden.tolerance"), what);
    }
    if golden.cosine.is_some_and(|cosine| !(cosine > 0.0 && cosine <= 1.0)) {
        let what = "it must be above 0, which takes any direction, and at most 1, like 0.999";
        found.error(format!("{at}.golden.cosine"), what);
    }
}
