//! What is wrong with a strategy beyond its grammar: names that name nothing, schedules that never
//! come, promises that cannot be kept.

mod drill;

use std::collections::BTreeSet;

use super::{Notify, Preset, Repository, Source, Span, Strategy};
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
        drill::check(strategy, &format!("drills.{name}"), drill, &mut found);
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

    fn every(&mut self, at: &str, every: Option<Span>) {
        if every.is_some_and(|every| every.0.is_zero()) {
            self.error(format!("{at}.every"), "it would always be due; write a span like \"6h\"");
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
    check_places(strategy, name, source, found);
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
    check_preset(strategy, name, source, found);
}

/// Whether models are looked for in a database that somebody named.
fn check_preset(strategy: &Strategy, name: &str, source: &Source, found: &mut Found) {
    let Some(group) = source.group.as_ref().filter(|it| it.preset == Some(Preset::Mlflow)) else {
        return;
    };
    let Some(first) = group.members.first() else { return };
    let postgres = strategy.sources.get(first).and_then(|it| it.postgres.as_ref());
    if postgres.is_some_and(|postgres| !postgres.names_database()) {
        let what = format!(
            "group {name} asks it for MLflow's models, but it names no database; add dbname=…, \
             MLflow's own, to the connection"
        );
        found.error(format!("sources.{first}.postgres.connection"), what);
    }
}

fn check_places(strategy: &Strategy, name: &str, source: &Source, found: &mut Found) {
    let at = &format!("sources.{name}");
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
    // A group's snapshot also goes where its members go; what they share is said once, of the group.
    let members = source.group.iter().flat_map(|group| &group.members);
    let members = members.filter_map(|it| strategy.sources.get(it).map(|source| (it, source)));
    let parts = members.filter(|(name, source)| strategy.is_part(name, source));
    let all: Vec<&str> = parts.flat_map(|(_, source)| strategy.places_of(source)).collect();
    let seen: BTreeSet<&str> = seen.into_iter().copied().chain(all).collect();
    if strategy.groups_of(name).any(|group| strategy.places_of(group) == places) {
        return;
    }
    let held: Vec<_> = seen.iter().filter_map(|place| strategy.repositories.get(*place)).collect();
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
    found.every(&at, source.every);
    match (&source.every, &source.calendar) {
        (Some(_), Some(_)) => found.error(&at, "only one of these may be there: every, calendar"),
        (None, None) if !strategy.is_part(name, source) => {
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
