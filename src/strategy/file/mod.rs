//! The strategy file, `icecore.toml`: what is backed up how often, kept how long, copied where,
//! drilled when, and what is promised.
//!
//! The records here are what the file says, and no more; [`check`](check::check) says what is wrong
//! with it beyond its grammar. Keys that are not known are errors: a misspelt `rpo` would else
//! promise nothing. `icecore.toml(5)` describes every key.

mod check;
mod drill;
mod lines;
mod place;
mod source;
mod value;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use check::{Problem, check};
pub use drill::{
    Check, Component, Drill, DrillTargets, Golden, Mode, Network, Probe, Query, Service,
};
pub use lines::line_of;
pub use place::{Mail, Notify, NotifyOn, Repository, Webhook};
pub use source::{Command, Group, Hooks, Keep, Postgres, PostgresMethod, Preset, Redis, Source};
pub use value::{Share, Span, Words};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Strategy {
    /// Zone of schedules and of retention's days; the system's where none is named.
    pub time_zone: Option<String>,
    /// Repositories by name.
    #[serde(default)]
    pub repositories: BTreeMap<String, Repository>,
    /// Sources by name.
    #[serde(default)]
    pub sources: BTreeMap<String, Source>,
    /// Drills by name.
    #[serde(default)]
    pub drills: BTreeMap<String, Drill>,
    /// What every source must reach unless it says otherwise.
    #[serde(default)]
    pub targets: Targets,
    /// Who is told what.
    #[serde(default)]
    pub notifications: Vec<Notify>,
    /// How much of the stored bytes `run` verifies.
    #[serde(default)]
    pub verify: VerifyBudget,
    /// Folders whose content should be covered by sources: `strategy coverage` names what is not.
    #[serde(default)]
    pub assets: Vec<String>,
}

/// What a source must reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Targets {
    /// Copies of the newest snapshot that are held, the source itself not counted.
    pub copies: Option<u32>,
    /// Classes of media among them.
    pub media: Option<u32>,
    /// Copies that are off site.
    pub offsite: Option<u32>,
    /// Every stored byte was verified within this span.
    pub verified_within: Option<Span>,
    /// A drill that covers the source passed within this span.
    pub drilled_within: Option<Span>,
}

/// What `run` spends on verifying each repository each time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct VerifyBudget {
    /// At most so long; without it nothing is verified.
    pub max_duration: Option<Span>,
    /// Only packs that were not verified for so long.
    pub older_than: Option<Span>,
}

impl Strategy {
    /// Reads the file's text. The error names line and key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut strategy: Self = toml::from_str(text).map_err(|err| {
            let what = err.message().replace('\n', "; ");
            let Some(at) = err.span().map(|span| span.start) else { return what };
            let line = lines::line_at(text, at);
            // What is missing has no place of its own.
            let table = lines::header_at(text, at).filter(|_| what.starts_with("missing field"));
            match table {
                Some(table) => format!("line {line}: {table}: {what}"),
                None => format!("line {line}: {what}"),
            }
        })?;
        strategy.hand_down();
        Ok(strategy)
    }

    /// Members of a group that name no repository go where their group goes.
    fn hand_down(&mut self) {
        let groups: Vec<Source> =
            self.sources.values().filter(|source| source.group.is_some()).cloned().collect();
        for group in groups {
            let members = group.group.iter().flat_map(|it| &it.members);
            for member in members {
                let Some(source) = self.sources.get_mut(member) else { continue };
                if source.repository.is_none() && source.replicas.is_empty() {
                    source.repository.clone_from(&group.repository);
                    source.replicas.clone_from(&group.replicas);
                }
            }
        }
    }

    /// The repositories that a source's snapshots go to: first the one that it is ingested into.
    #[must_use]
    pub fn places_of<'a>(&'a self, source: &'a Source) -> Vec<&'a str> {
        let first = source.repository.as_deref().or_else(|| self.only_repository());
        first.into_iter().chain(source.replicas.iter().map(String::as_str)).collect()
    }

    /// Whether a source is only captured as a member of a group: it has no times of its own.
    #[must_use]
    pub fn is_part(&self, name: &str, source: &Source) -> bool {
        let has_time = source.every.is_some() || source.calendar.is_some();
        !has_time && self.groups_of(name).next().is_some()
    }

    /// The groups that a source is a member of.
    pub fn groups_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Source> {
        self.sources.values().filter(move |other| {
            other.group.iter().flat_map(|group| &group.members).any(|member| member == name)
        })
    }

    /// The repository, where there is exactly one.
    #[must_use]
    pub fn only_repository(&self) -> Option<&str> {
        let mut names = self.repositories.keys();
        names.next().filter(|_| names.next().is_none()).map(String::as_str)
    }

    /// A source's targets, filled up with the file's.
    #[must_use]
    pub fn targets_of(&self, source: &Source) -> Targets {
        let (own, all) = (&source.targets, &self.targets);
        Targets {
            copies: own.copies.or(all.copies),
            media: own.media.or(all.media),
            offsite: own.offsite.or(all.offsite),
            verified_within: own.verified_within.or(all.verified_within),
            drilled_within: own.drilled_within.or(all.drilled_within),
        }
    }
}

#[cfg(test)]
mod tests;
