//! Which snapshot each component of a drill comes from, and where it stands.
//!
//! A snapshot belongs to a source when one of its captures names the source (or a member of the
//! group that it is), or where the source has plain paths, when it is of this host and of just
//! those paths.

use std::path::{Component as Name, Path};

use crate::format::{Body, DrilledComponent, RepositoryId, Snapshot, Time};
use crate::ops::path::descend;
use crate::ops::{OpError, Result};
use crate::repo::{Repository, SnapshotFilter};
use crate::strategy::evidence::{SnapshotFact, belongs};
use crate::strategy::file::{Component, Drill, Mode, Source, Strategy};

use super::order::Part;

/// What a drill restores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Each outer path before what lies in it.
    pub parts: Vec<Part>,
    /// What the ledger gets to know of it.
    pub components: Vec<DrilledComponent>,
    /// Time of the oldest snapshot.
    pub oldest: Time,
}

/// The repository that a drill restores from: the one that is named, else the plan's, else where
/// its sources go first.
///
/// # Errors
/// Where there is no such repository, or sources go to different ones.
pub fn place<'s>(
    strategy: &'s Strategy,
    drill: &'s Drill,
    from: Option<&'s str>,
) -> Result<&'s str> {
    if let Some(named) = from.or(drill.from.as_deref()) {
        let known = strategy.repositories.get_key_value(named).map(|(name, _)| name.as_str());
        return known.ok_or_else(|| {
            OpError::Input(format!("there is no repository {named} in the strategy"))
        });
    }
    let mut firsts: Vec<&str> = Vec::new();
    for (name, component) in &drill.components {
        let source = source_of(strategy, name, component)?;
        let first = strategy.places_of(source).first().copied().ok_or_else(|| {
            OpError::Input(format!("source {} has no repository", component.source))
        })?;
        if !firsts.contains(&first) {
            firsts.push(first);
        }
    }
    match firsts.as_slice() {
        [only] => Ok(only),
        [] => Err(OpError::Input("the drill has no components".into())),
        many => Err(OpError::Input(format!(
            "its components are in several repositories ({}); name one that has all, with from = \
             \"…\" or --from",
            many.join(", ")
        ))),
    }
}

fn source_of<'s>(strategy: &'s Strategy, name: &str, component: &Component) -> Result<&'s Source> {
    strategy.sources.get(&component.source).ok_or_else(|| {
        OpError::Input(format!("component {name}: there is no source {}", component.source))
    })
}

/// Finds a snapshot for each component: the newest, or the one that is named for all. `place` is the
/// repository's name in the strategy.
///
/// # Errors
/// Where a component has none, or its snapshot has no such path; where the newest may be one that
/// cannot be read.
pub fn plan(
    repo: &Repository,
    strategy: &Strategy,
    drill: &Drill,
    place: &str,
    snapshot: Option<&str>,
    host: &str,
) -> Result<Plan> {
    let mut list = repo.snapshots()?;
    let named = snapshot.map(|name| list.find(name, &SnapshotFilter::default())).transpose()?;
    let (mut parts, mut components) = (Vec::new(), Vec::new());
    for (name, component) in &drill.components {
        let source = source_of(strategy, name, component)?;
        if component.sample.is_some() && drill.mode == Mode::Instant {
            return Err(OpError::Input(format!(
                "component {name}: an instant drill restores nothing that a sample could be of; add \
                 mode = \"copy\""
            )));
        }
        let of = (component.source.as_str(), source);
        let newest = || newest(&list.snapshots, repo.config().repository, of, host).cloned();
        let snapshot = named.clone().or_else(newest).ok_or_else(|| {
            let lacks =
                format!("repository {place} has no snapshot of source {}", component.source);
            let remedy = remedy(strategy, of, place);
            OpError::Input(format!("component {name}: {lacks}; {remedy}"))
        })?;
        if named.is_none() {
            // An older state would be proven, which nobody would restore.
            list.refuse_older(&format!("the newest of {}", component.source), &snapshot)?;
        }
        for (path, at) in paths(name, component, source, &snapshot)? {
            let (_, node) = descend(repo, &snapshot, path.as_bytes())?;
            parts.push(Part {
                component: name.clone(),
                snapshot: snapshot.id,
                is_directory: matches!(node.body, Body::Directory { .. }),
                path,
                at,
                share: component.sample,
                sample: None,
            });
        }
        components.push(DrilledComponent {
            name: name.clone(),
            source: component.source.clone(),
            snapshot: snapshot.id,
            time: snapshot.time,
        });
    }
    parts.sort_by_key(|part| (Path::new(&part.at).components().count(), part.at.clone()));
    apart(&parts)?;
    let oldest = components.iter().map(|component| component.time).min();
    let oldest = oldest.ok_or_else(|| OpError::Input("the drill has no components".into()))?;
    Ok(Plan { parts, components, oldest })
}

/// That no two parts stand at one place; they are sorted by it.
fn apart(parts: &[Part]) -> Result<()> {
    for pair in parts.windows(2) {
        let [one, other] = pair else { continue };
        if one.at == other.at {
            let (at, one, other) = (&one.at, &one.component, &other.component);
            let what = match one == other {
                true => format!("component {one} stands twice at {at}; name each path once"),
                false => format!(
                    "components {one} and {other} both stand at {at}; give one of them another \
                     place (`at`), or leave one out"
                ),
            };
            return Err(OpError::Input(what));
        }
    }
    Ok(())
}

/// What to do about a source that a repository has no snapshot of.
fn remedy(strategy: &Strategy, (name, source): (&str, &Source), place: &str) -> String {
    let places = strategy.places_of(source);
    match places.iter().position(|other| *other == place) {
        Some(0) => format!("`icecore run --source {name}` takes one"),
        Some(_) => format!("`icecore replicate --to {place}` copies it there"),
        None => format!(
            "it goes to {}: drill from there with --from, or add replicas = [\"{place}\"] to it",
            places.join(", ")
        ),
    }
}

/// The newest snapshot of a source: one of this host where it has any, else of another, whose
/// replica is drilled here.
fn newest<'l>(
    snapshots: &'l [Snapshot],
    repository: RepositoryId,
    (name, source): (&str, &Source),
    host: &str,
) -> Option<&'l Snapshot> {
    let of = |host: Option<&str>| {
        snapshots.iter().rev().find(|snapshot| {
            belongs(&SnapshotFact::of(snapshot, repository, false), name, source, host)
        })
    };
    of(Some(host)).or_else(|| of(None))
}

fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

/// Paths of a component in its snapshot, and where each stands.
fn paths(
    name: &str,
    component: &Component,
    source: &Source,
    snapshot: &Snapshot,
) -> Result<Vec<(String, String)>> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            OpError::Input(format!("component {name}: a path is no UTF-8; name it with path"))
        })
    };
    let captured = || {
        let own = snapshot.captures.iter().filter(|capture| capture.source == component.source);
        own.map(|capture| text(&capture.path)).collect::<Result<Vec<_>>>()
    };
    let found = match &component.path {
        Some(path) => vec![path.clone()],
        None => match captured()? {
            none if none.is_empty() => source.paths.clone(),
            captured => captured,
        },
    };
    let whole = |path: &str| format!("/{}", path.trim_matches('/'));
    match (&component.at, found.as_slice()) {
        (_, []) => {
            let what = format!("component {name}: what of the snapshot is it? add path = \"…\"");
            Err(OpError::Input(what))
        }
        (Some(at), [only]) => Ok(vec![(whole(only), checked(name, at)?)]),
        (Some(_), many) => Err(OpError::Input(format!(
            "component {name} has {} paths, which cannot all stand at one; add path = \"…\"",
            many.len()
        ))),
        (None, many) => {
            many.iter().map(|path| Ok((whole(path), checked(name, &whole(path))?))).collect()
        }
    }
}

/// A place in the drill: absolute, below the root, and none that the drill makes itself.
fn checked(name: &str, at: &str) -> Result<String> {
    let whole = trimmed(at);
    let is_plain =
        Path::new(whole).components().all(|part| matches!(part, Name::RootDir | Name::Normal(_)));
    let wrong = |what: &str| Err(OpError::Input(format!("component {name}: {at} {what}")));
    match Path::new(whole).components().nth(1) {
        _ if !whole.starts_with('/') || !is_plain => wrong("is no absolute path"),
        None => wrong("cannot be replaced by a drill; name a folder below it with path and at"),
        Some(Name::Normal(first)) if first == "proc" || first == "sys" || first == "dev" => {
            wrong("belongs to the kernel")
        }
        Some(_) => Ok(whole.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_absolute_and_below_the_root() {
        assert_eq!(checked("a", "/srv/models/").unwrap(), "/srv/models");
        for wrong in ["/", "", "srv", "/srv/../etc", "/proc/1", "/dev"] {
            assert!(checked("a", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn components_of_one_place_are_both_named_with_the_remedy() {
        let part = |component: &str, at: &str| Part {
            component: component.into(),
            snapshot: crate::format::SnapshotId([1; 16]),
            path: "/db".into(),
            at: at.into(),
            is_directory: false,
            share: None,
            sample: None,
        };
        assert!(apart(&[part("x", "/srv/a"), part("y", "/srv/b")]).is_ok());
        let err = apart(&[part("x", "/srv/a"), part("y", "/srv/a")]).unwrap_err().to_string();
        assert!(err.starts_with("components x and y both stand at /srv/a; give one"), "{err}");
        let err = apart(&[part("x", "/srv/a"), part("x", "/srv/a")]).unwrap_err().to_string();
        assert!(err.starts_with("component x stands twice at /srv/a"), "{err}");
    }

    #[test]
    fn the_repository_is_named_or_the_only_one_of_the_sources() {
        let text = "[repositories.a]\nurl = \"/a\"\nmedia = \"disk\"\n\
                    [repositories.b]\nurl = \"/b\"\nmedia = \"disk\"\n\
                    [sources.x]\npaths = [\"/x\"]\nrepository = \"a\"\n\
                    [sources.y]\npaths = [\"/y\"]\nrepository = \"b\"\n\
                    [drills.d]\ncomponents.x = { source = \"x\" }\n";
        let strategy = Strategy::parse(text).unwrap();
        let drill = &strategy.drills["d"];
        assert_eq!(place(&strategy, drill, None).unwrap(), "a");
        assert_eq!(place(&strategy, drill, Some("b")).unwrap(), "b");
        assert!(place(&strategy, drill, Some("c")).is_err());
        let two = format!("{text}components.y = {{ source = \"y\" }}\n");
        let strategy = Strategy::parse(&two).unwrap();
        let err = place(&strategy, &strategy.drills["d"], None).unwrap_err().to_string();
        assert!(err.contains("several repositories (a, b)"), "{err}");
        let x = ("x", &strategy.sources["x"]);
        assert!(remedy(&strategy, x, "a").contains("run --source x"));
        let elsewhere = remedy(&strategy, x, "b");
        assert!(elsewhere.starts_with("it goes to a: drill from there"), "{elsewhere}");
    }
}
