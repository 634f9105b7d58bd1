//! The repositories of a strategy: those that open, and why the others do not.
//!
//! What must stay true: one that cannot be opened stops nobody; what is asked of it is answered by
//! its error.

use std::collections::BTreeMap;

use clap::Args;

use crate::clock;
use crate::fsutil;
use crate::ops::evidence::gather;
use crate::repo::Repository;
use crate::strategy::evidence::Evidence;
use crate::strategy::file::Strategy;

use super::context::Context;
use super::error::chain;

/// The strategy's repositories.
pub(crate) struct Places {
    opened: BTreeMap<String, Repository>,
    failed: BTreeMap<String, String>,
}

/// Whose sources are judged.
#[derive(Debug, Clone, Args)]
pub(crate) struct HostOption {
    /// Host whose sources the strategy's are [default: this one]
    #[arg(long)]
    host: Option<String>,
}

impl HostOption {
    pub(crate) fn name(&self) -> String {
        self.host.clone().unwrap_or_else(fsutil::machine)
    }
}

impl Places {
    /// Opens all that open.
    pub(crate) fn open(cx: &Context, strategy: &Strategy) -> Self {
        let (mut opened, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for (name, place) in &strategy.repositories {
            match cx.open_place(place) {
                Ok(open) => drop(opened.insert(name.clone(), open.repo)),
                Err(err) => drop(failed.insert(name.clone(), chain(&err))),
            }
        }
        Self { opened, failed }
    }

    /// One of them, or why it is not there.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<&Repository> {
        match (self.opened.get(name), self.failed.get(name)) {
            (Some(repo), _) => Ok(repo),
            (None, Some(why)) => Err(anyhow::anyhow!("repository {name} cannot be opened: {why}")),
            (None, None) => Err(anyhow::anyhow!("the strategy has no repository {name}")),
        }
    }

    /// Those that opened.
    pub(crate) fn opened(&self) -> impl Iterator<Item = &Repository> {
        self.opened.values()
    }

    /// What is known now.
    pub(crate) fn evidence(&self, host: String) -> Evidence {
        let mut evidence = Evidence { now: clock::now(), host, ..Evidence::default() };
        evidence.unknown = self.failed.clone();
        for (name, repo) in &self.opened {
            match gather(repo) {
                Ok(facts) => drop(evidence.repositories.insert(name.clone(), facts)),
                Err(err) => drop(evidence.unknown.insert(name.clone(), chain(&err.into()))),
            }
        }
        evidence
    }
}
