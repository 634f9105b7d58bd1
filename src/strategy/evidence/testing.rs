//! Facts made up for tests.

use super::*;

/// The host of all of them.
pub(crate) const HOST: &str = "here";

/// A repository's id.
pub(crate) fn repository(number: u8) -> RepositoryId {
    RepositoryId([number; 16])
}

/// A snapshot of repository 1 of nobody's source.
pub(crate) fn snapshot(number: u8, secs: i64) -> SnapshotFact {
    let id = SnapshotId([number; 16]);
    SnapshotFact {
        id,
        identity: (repository(1), id),
        time: Time { secs, nanos: 0 },
        host: HOST.into(),
        tags: Vec::new(),
        paths: Vec::new(),
        captures: Vec::new(),
        totals: Totals::default(),
        stored: 0,
        troubles: 0,
        protected: false,
    }
}

/// The same, captured as these sources.
pub(crate) fn captured(mut snapshot: SnapshotFact, sources: &[&str]) -> SnapshotFact {
    let capture = |source: &&str| Capture {
        source: (*source).into(),
        method: "files".into(),
        path: Vec::new(),
        started: snapshot.time,
        ended: snapshot.time,
        facts: Vec::new(),
    };
    snapshot.captures = sources.iter().map(capture).collect();
    snapshot
}

/// A repository with these snapshots.
pub(crate) fn facts(number: u8, snapshots: Vec<SnapshotFact>) -> RepositoryFacts {
    let location = format!("/repository/{number}");
    RepositoryFacts { location, snapshots, ..RepositoryFacts::default() }
}

/// A record of this host.
pub(crate) fn told<T>(secs: i64, event: T) -> Told<T> {
    let at = Time { secs, nanos: 0 };
    Told { at, host: HOST.into(), program: "icecore".into(), record: String::new(), event }
}

/// A part that came to its end.
pub(crate) fn ran(secs: i64, part: &str, name: &str, error: &str) -> Told<Ran> {
    let started = Time { secs, nanos: 0 };
    let (part, name, error) = (part.into(), name.into(), error.into());
    told(secs, Ran { part, name, started, duration_ns: 0, snapshot: None, error })
}

/// Evidence of these repositories.
pub(crate) fn evidence(now: i64, repositories: Vec<(&str, RepositoryFacts)>) -> Evidence {
    Evidence {
        now: Time { secs: now, nanos: 0 },
        host: HOST.into(),
        repositories: repositories.into_iter().map(|(name, facts)| (name.into(), facts)).collect(),
        unknown: BTreeMap::new(),
    }
}
