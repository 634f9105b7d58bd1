//! `icecore replicate` by the strategy file: repositories by their names, and what its replicas lack.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::format::SnapshotId;
use crate::fsutil;
use crate::ops::replicate::ReplicateOptions;
use crate::strategy::due::{Asked, Part};
use crate::strategy::file::{Source, Strategy};

use super::super::context::Context;
use super::super::error::{CliError, talk_error};
use super::super::exit::Exit;
use super::super::places::Places;
use super::super::strategy::{FileOption, zone_of};
use super::once;

/// The repository to copy to that a word names in the strategy file; `None` where it is a path, or
/// there is no such file or name.
pub(super) fn named(file: &FileOption, to: &Path) -> Result<Option<(Strategy, String)>, CliError> {
    let Some(name) = to.to_str().filter(|name| !name.contains('/')) else { return Ok(None) };
    if !file.path().exists() {
        return Ok(None);
    }
    let strategy = file.read()?;
    let is_known = strategy.repositories.contains_key(name);
    Ok(is_known.then(|| (strategy, name.to_owned())))
}

/// Of a word that is neither a name in the strategy file nor a path.
pub(super) fn no_such(file: &FileOption, to: &Path) -> CliError {
    let strategy = file.read().ok();
    let names = strategy.iter().flat_map(|it| it.repositories.keys().map(String::as_str));
    let known = match names.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => format!("{} names no repositories", file.path().display()),
        names => format!("{} names {names}", file.path().display()),
    };
    CliError::usage(format!("there is no repository or folder {}", to.display()))
        .hint(format!("{known}; or give both folders, with -r and --to"))
}

/// Copies to each replica, or to the one, what the sources of the strategy that go to it lack there.
pub(super) fn by_strategy(
    cx: &mut Context,
    strategy: &Strategy,
    only: Option<&str>,
    options: &ReplicateOptions,
) -> anyhow::Result<Exit> {
    let is_asked = |to: &str| only.is_none_or(|only| only == to);
    let replicas = || strategy.sources.values().flat_map(|source| &source.replicas);
    if !replicas().any(|to| is_asked(to)) {
        let what = match only {
            Some(only) => format!("no source of the strategy has the replica {only}"),
            None => "no source of the strategy has replicas".to_owned(),
        };
        return Err(CliError::usage(what).hint("name both repositories, with -r and --to").into());
    }
    let here = cx.global.repository.clone();
    let is_here = |name: &str| {
        let url = strategy.repositories.get(name).map(|place| Path::new(&place.url));
        here.as_ref().is_none_or(|here| url.is_some_and(|url| is_same(here, url)))
    };
    let places = Places::open(cx, strategy);
    let (evidence, zone) = (places.evidence(fsutil::machine()), zone_of(strategy));
    let mut exit = Exit::Done;
    let mut pairs: BTreeMap<(String, String), BTreeSet<SnapshotId>> = BTreeMap::new();
    for due in (Asked { strategy, evidence: &evidence, zone: &zone }).copies() {
        let title = due.part.title();
        let Part::Replicate { from, to, snapshots, .. } = due.part else { continue };
        if !is_asked(&to) || !is_here(&from) {
            continue;
        }
        if let Some(held) = due.held {
            talk_error(&format!("{title}: {held}"));
            exit = Exit::Failed;
            continue;
        }
        pairs.entry((from, to)).or_default().extend(snapshots);
    }
    for (name, why) in &evidence.unknown {
        let is_first = |it: &Source| {
            strategy.places_of(it).first() == Some(&name.as_str())
                && it.replicas.iter().any(|to| is_asked(to))
        };
        if is_here(name) && strategy.sources.values().any(is_first) {
            talk_error(&format!("repository {name} cannot be read: {why}"));
            exit = Exit::Failed;
        }
    }
    if pairs.is_empty() && exit == Exit::Done {
        cx.report(|| serde_json::json!({ "copied": [] }), || "nothing to copy\n".to_owned())?;
    }
    for ((from, to), snapshots) in pairs {
        let options = ReplicateOptions { only: Some(snapshots), ..options.clone() };
        match once(cx, places.get(&from)?, places.get(&to)?, &options)? {
            Exit::Done => {}
            other if exit == Exit::Done => exit = other,
            _ => {}
        }
    }
    Ok(exit)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    place(one) == place(other)
}
