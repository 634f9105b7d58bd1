//! The stages of one source, or of a group's members one after the other.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use crate::format::{Capture, Source as Named, Time};
use crate::ops::error::{OpError, Result};
use crate::ops::ingest::{Drafted, Stage, Stages, Verdict};
use crate::strategy::file::{Group, Preset, Source, Strategy};

use super::driver::Member;
use super::hooks::{Around, Frozen};
use super::mlflow::{self, Model};
use super::{failed, find, verify};

/// So often a group whose check failed for what changed meanwhile is captured anew.
const TRIES: u32 = 5;

/// One source of the strategy, being captured.
pub(super) struct Members<'a> {
    strategy: &'a Strategy,
    name: &'a str,
    source: &'a Source,
    interrupted: &'a AtomicBool,
    sources: Vec<Named>,
    /// Those that are still to come, with the hooks of the first while it is being captured.
    left: VecDeque<Member<'a>>,
    around: Option<Around<'a>>,
    frozen: Option<Frozen<'a>>,
    captures: Vec<Capture>,
    /// What a tracking database of MLflow in a server said once it was captured.
    models: Option<Vec<Model>>,
    /// What the check of the preset counted.
    facts: verify::Facts,
    started: Option<Time>,
    tries: u32,
}

impl<'a> Members<'a> {
    pub(super) fn new(
        strategy: &'a Strategy,
        name: &'a str,
        source: &'a Source,
        interrupted: &'a AtomicBool,
    ) -> Result<Self> {
        let mut members = Self {
            strategy,
            name,
            source,
            interrupted,
            sources: Vec::new(),
            left: VecDeque::new(),
            around: None,
            frozen: None,
            captures: Vec::new(),
            models: None,
            facts: Vec::new(),
            started: None,
            tries: 0,
        };
        members.begin()?;
        for member in &members.left {
            members.sources.extend(member.driver.sources()?);
        }
        members.sources.sort_by(|a, b| a.path.cmp(&b.path));
        members.sources.dedup();
        Ok(members)
    }

    /// All members, from the first.
    fn begin(&mut self) -> Result<()> {
        self.captures.clear();
        self.left.clear();
        self.models = None;
        self.started = None;
        let Some(group) = &self.source.group else {
            let member = Member::new(self.name, self.source, None, self.interrupted);
            self.left.push_back(member);
            return Ok(());
        };
        for name in &group.members {
            let source = find(self.strategy, name)?;
            if source.group.is_some() {
                return Err(failed(self.name, format!("its member {name} is a group itself")));
            }
            self.left.push_back(Member::new(name, source, group.preset, self.interrupted));
        }
        if self.left.is_empty() {
            return Err(failed(self.name, "the group has no members"));
        }
        Ok(())
    }

    fn freeze(&mut self, group: &'a Group) -> Result<()> {
        let commands = (group.freeze.as_ref(), group.thaw.as_ref());
        let hooks = &self.source.hooks;
        self.frozen = Some(Frozen::begin(self.name, commands, hooks, self.interrupted)?);
        Ok(())
    }

    /// What a group's member leaves out and runs around itself; a source alone has that around all.
    fn begin_member(&mut self) -> Result<()> {
        let Some(member) = self.left.front().filter(|_| self.source.group.is_some()) else {
            return Ok(());
        };
        if self.around.is_none() {
            let source = find(self.strategy, member.name)?;
            self.around = Some(Around::begin(member.name, &source.hooks, self.interrupted)?);
        }
        Ok(())
    }

    /// Asks the first member of a group of MLflow for its models, once it is captured and before the
    /// artifacts are: a server goes on, and knows of newer ones when all is over.
    fn ask_models(&mut self) -> Result<()> {
        let preset = self.source.group.as_ref().and_then(|group| group.preset);
        let first = self.left.front().filter(|_| preset == Some(Preset::Mlflow));
        let Some(name) = first.map(|member| member.name).filter(|_| self.models.is_none()) else {
            return Ok(());
        };
        if let Some(server) = &find(self.strategy, name)?.postgres {
            let models = mlflow::of_server(&server.connection, self.interrupted);
            let told =
                |what| format!("MLflow's models: {what}; does the connection name its dbname?");
            self.models = Some(models.map_err(|what| failed(name, told(what)))?);
        }
        Ok(())
    }

    /// The record of a group itself, from its first member's start to its last one's end.
    fn whole(&self, captures: &[Capture]) -> Option<Capture> {
        let group = self.source.group.as_ref()?;
        let started = *self.started.as_ref()?;
        let ended = captures.iter().map(|capture| capture.ended).max().unwrap_or(started);
        let mut facts = self.facts.clone();
        facts.push(("members".to_owned(), group.members.join(" ")));
        facts.sort();
        let (source, method) = (self.name.to_owned(), "group".to_owned());
        Some(Capture { source, method, path: Vec::new(), started, ended, facts })
    }

    fn excludes(&self) -> Vec<String> {
        let member = self.left.front().filter(|_| self.source.group.is_some());
        let source = member.and_then(|member| self.strategy.sources.get(member.name));
        source.map(|source| source.exclude.clone()).unwrap_or_default()
    }
}

impl Stages for Members<'_> {
    fn sources(&self) -> Vec<Named> {
        self.sources.clone()
    }

    fn next(&mut self) -> Result<Option<Stage<'_>>> {
        if let Some(group) = &self.source.group
            && self.frozen.is_none()
            && !self.left.is_empty()
        {
            self.freeze(group)?;
        }
        self.started.get_or_insert_with(crate::clock::now);
        loop {
            self.begin_member()?;
            let Some(member) = self.left.front_mut() else { break };
            if let Some(mut stage) = member.next()? {
                let own = std::mem::replace(&mut stage.excludes, self.excludes());
                stage.excludes.extend(own);
                return Ok(Some(stage));
            }
            self.captures.extend(member.record());
            if self.captures.len() < 2 {
                self.ask_models()?;
            }
            self.left.pop_front();
            if let Some(around) = self.around.take() {
                around.end()?;
            }
        }
        match self.frozen.take() {
            Some(frozen) => frozen.end().map(|()| None),
            None => Ok(None),
        }
    }

    fn verify(&mut self, drafted: Drafted<'_>) -> Result<Verdict> {
        let Some(group) = &self.source.group else { return Ok(Verdict::Take(Vec::new())) };
        let Some(preset) = group.preset else { return Ok(Verdict::Take(Vec::new())) };
        let mut members = Vec::new();
        for name in &group.members {
            members.push((name.as_str(), find(self.strategy, name)?));
        }
        let checked = match preset {
            Preset::Mlflow => verify::mlflow(drafted, &members, self.models.take()),
            Preset::Lance => verify::lance(drafted, &members),
            Preset::Feast => verify::feast(drafted, &members),
        };
        self.tries += 1;
        match checked.map_err(|what| failed(self.name, what))? {
            verify::Found::Taken(troubles, facts) => {
                self.facts = facts;
                Ok(Verdict::Take(troubles))
            }
            verify::Found::Missing(what) if self.tries < TRIES => {
                tracing::warn!("source {}: {what}; capturing it anew", self.name);
                self.begin()?;
                Ok(Verdict::Again)
            }
            verify::Found::Missing(what) => {
                Err(OpError::Input(format!("source {}: {what}, {TRIES} times", self.name)))
            }
        }
    }

    fn captures(&mut self) -> Vec<Capture> {
        let captures = std::mem::take(&mut self.captures);
        self.whole(&captures).into_iter().chain(captures).collect()
    }
}
