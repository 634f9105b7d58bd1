//! What is wrong with a strategy beyond its grammar: names that name nothing, schedules that never
//! come, promises that cannot be kept.

use std::collections::BTreeSet;

use super::{Check, Drill, Notify, Probe, Repository, Source, Strategy};
use crate::strategy::calendar::Calendar;
use crate::strategy::retention::CalendarSpan;

/// One thing that is wrong, or that should be thought over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, like `sources.models.every`.
    pub at: String,
    /// What is wrong and what to do.
    pub what: String,
    /// Whether the strategy can be carried out all the same.
    pub is_warning: bool,
}

/// All problems, in the file's order of kinds.
#[must_use]
pub fn check(strategy: &Strategy) -> Vec<Problem> {
    let mut found = Found::default();
    if let Some(zone) = &strategy.time_zone
        && jiff::tz::TimeZone::get(zone).is_err()
    {
        found.error(
            "time-zone",
            format!("\"{zone}\" is no time zone; write one like Europe/Berlin"),
        );
    }
    for (name, repository) in &strategy.repositories {
        check_repository(&format!("repositories.{name}"), repository, &mut found);
    }
    if strategy.repositories.is_empty() {
        found.error("repositories", "there is none; add [repositories.NAME] with url and media");
    }
    for (name, source) in &strategy.sources {
        check_source(strategy, name, source, &mut found);
    }
    for (name, drill) in &strategy.drills {
        check_drill(strategy, &format!("drills.{name}"), drill, &mut found);
    }
    for (number, notify) in strategy.notifications.iter().enumerate() {
        check_notify(&format!("notifications[{number}]"), notify, &mut found);
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<Problem>);

impl Found {
    fn error(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.0.push(Problem { at: at.into(), what: what.into(), is_warning: false });
    }

    fn warning(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.0.push(Problem { at: at.into(), what: what.into(), is_warning: true });
    }

    /// Exactly one of several ways must be taken.
    fn one_of(&mut self, at: &str, ways: &[(&str, bool)]) {
        let taken: Vec<_> = ways.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
        let all = ways.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        match taken.as_slice() {
            [_] => {}
            [] => self.error(at, format!("one of these is missing: {all}")),
            many => self.error(at, format!("only one of these may be there: {}", many.join(", "))),
        }
    }

    fn absolute(&mut self, at: &str, path: &str) {
        if !path.starts_with('/') {
            self.error(at, format!("\"{path}\" is not absolute; write the whole path"));
        }
    }

    fn calendar(&mut self, at: &str, text: &str) {
        if let Err(what) = Calendar::parse(text) {
            self.error(at, what);
        }
    }
}

fn check_repository(at: &str, repository: &Repository, found: &mut Found) {
    if repository.url.contains("://") {
        let what = format!(
            "\"{}\" is no folder; this icecore keeps repositories in folders",
            repository.url
        );
        found.error(format!("{at}.url"), what);
    } else {
        found.absolute(&format!("{at}.url"), &repository.url);
    }
    let ways = [
        repository.key_file.is_some(),
        repository.passphrase_file.is_some(),
        repository.passphrase_command.is_some(),
    ];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        found.error(
            at,
            "only one of these may be there: key-file, passphrase-file, passphrase-command",
        );
    }
    if repository.offsite && repository.site.is_none() {
        found.warning(at, "it is off site, but does not say where; add site = \"…\"");
    }
}

fn check_source(strategy: &Strategy, name: &str, source: &Source, found: &mut Found) {
    let at = format!("sources.{name}");
    found.one_of(
        &at,
        &[
            ("paths", !source.paths.is_empty()),
            ("sqlite", !source.sqlite.is_empty()),
            ("postgres", source.postgres.is_some()),
            ("redis", source.redis.is_some()),
            ("command", source.command.is_some()),
            ("group", source.group.is_some()),
        ],
    );
    for path in source.paths.iter().chain(&source.sqlite) {
        found.absolute(&at, path);
    }
    check_places(strategy, &at, source, found);
    check_schedule(strategy, name, source, found);
    check_keep(&at, source, found);
    if let Some(command) = &source.command {
        let name = &command.name;
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            found.error(format!("{at}.command.name"), format!("\"{name}\" is no file name"));
        }
        if command.run.is_empty() {
            found.error(format!("{at}.command.run"), "there is nothing to run");
        }
    }
    for member in source.group.iter().flat_map(|group| &group.members) {
        match strategy.sources.get(member) {
            None => found.error(format!("{at}.group"), format!("there is no source {member}")),
            Some(other) if other.group.is_some() => {
                found.error(format!("{at}.group"), format!("{member} is a group itself"));
            }
            Some(_) => {}
        }
    }
}

fn check_places(strategy: &Strategy, at: &str, source: &Source, found: &mut Found) {
    let places = strategy.places_of(source);
    if source.repository.is_none() && strategy.repositories.len() > 1 {
        found.error(at, "which repository does it go to? add repository = \"…\"");
    }
    let mut seen = BTreeSet::new();
    for place in &places {
        if !strategy.repositories.contains_key(*place) {
            found.error(at, format!("there is no repository {place}"));
        } else if !seen.insert(place) {
            found.error(at, format!("it goes to repository {place} twice"));
        }
    }
    let held: Vec<_> = seen.iter().filter_map(|place| strategy.repositories.get(**place)).collect();
    let targets = strategy.targets_of(source);
    let media: BTreeSet<_> = held.iter().map(|repository| &repository.media).collect();
    let offsite = held.iter().filter(|repository| repository.offsite).count();
    for (target, wanted, have) in [
        ("copies", targets.copies, held.len()),
        ("media", targets.media, media.len()),
        ("offsite", targets.offsite, offsite),
    ] {
        if let Some(wanted) = wanted.filter(|wanted| have < *wanted as usize) {
            let what = format!(
                "the target {target} = {wanted} cannot be met: its repositories make {have}; add replicas"
            );
            found.warning(at, what);
        }
    }
}

fn check_schedule(strategy: &Strategy, name: &str, source: &Source, found: &mut Found) {
    let at = format!("sources.{name}");
    if let Some(calendar) = &source.calendar {
        found.calendar(&format!("{at}.calendar"), calendar);
    }
    let is_member = strategy
        .sources
        .values()
        .any(|other| other.group.iter().any(|group| group.members.iter().any(|m| m == name)));
    match (&source.every, &source.calendar) {
        (Some(_), Some(_)) => found.error(&at, "only one of these may be there: every, calendar"),
        (None, None) if !is_member => {
            found.warning(&at, "it is never due; add every = \"6h\" or calendar = \"daily\"");
        }
        _ => {}
    }
    if let (Some(every), Some(rpo)) = (source.every, source.rpo)
        && every > rpo
    {
        found.warning(&at, "it starts less often than its rpo allows; lower every");
    }
}

fn check_keep(at: &str, source: &Source, found: &mut Found) {
    let Some(keep) = &source.keep else { return };
    if let Some(within) = &keep.within
        && let Err(what) = within.parse::<CalendarSpan>()
    {
        found.error(format!("{at}.keep.within"), what);
    }
    if *keep == super::Keep::default() {
        found.error(format!("{at}.keep"), "it keeps nothing; add a rule like daily = 7");
    }
}

fn check_drill(strategy: &Strategy, at: &str, drill: &Drill, found: &mut Found) {
    if drill.every.is_some() && drill.calendar.is_some() {
        found.error(at, "only one of these may be there: every, calendar");
    }
    if let Some(calendar) = &drill.calendar {
        found.calendar(&format!("{at}.calendar"), calendar);
    }
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
    }
    check_services(at, drill, found);
    for (number, check) in drill.checks.iter().enumerate() {
        check_check(&format!("{at}.checks[{number}]"), drill, check, found);
    }
    if drill.checks.is_empty() {
        found.warning(at, "it checks nothing; add at least [[…checks]] manifest = \"COMPONENT\"");
    }
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
    if let Some(query) = &check.sql {
        let ways = [("sqlite", query.sqlite.is_some()), ("postgres", query.postgres.is_some())];
        found.one_of(&format!("{at}.sql"), &ways);
        if query.min.is_none() && query.fresh.is_none() {
            found.error(format!("{at}.sql"), "it expects nothing; add min or fresh");
        }
    }
}

fn check_notify(at: &str, notify: &Notify, found: &mut Found) {
    let ways = [
        ("command", notify.command.is_some()),
        ("webhook", notify.webhook.is_some()),
        ("email", notify.email.is_some()),
    ];
    found.one_of(at, &ways);
    if let Some(hook) = &notify.webhook
        && !(hook.url.starts_with("http://") || hook.url.starts_with("https://"))
    {
        found.error(at, format!("\"{}\" is no address; write http:// or https://", hook.url));
    }
}
