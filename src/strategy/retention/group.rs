//! What is judged together: snapshots of the same host, tags or sources.

use std::fmt;
use std::str::FromStr;

use super::Fact;

/// What snapshots of one group have in common; with nothing of it, all are one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupBy {
    /// The host.
    pub host: bool,
    /// The set of tags.
    pub tags: bool,
    /// The set of sources.
    pub sources: bool,
}

impl Default for GroupBy {
    fn default() -> Self {
        Self { host: true, tags: false, sources: true }
    }
}

/// What the snapshots of a group have in common; `None` of what they are not grouped by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The host.
    pub host: Option<String>,
    /// Paths of the sources, sorted, each once.
    pub sources: Option<Vec<Vec<u8>>>,
    /// The tags, sorted, each once.
    pub tags: Option<Vec<String>>,
}

impl GroupBy {
    /// The group of a snapshot.
    #[must_use]
    pub fn key(self, fact: &Fact) -> GroupKey {
        GroupKey {
            host: self.host.then(|| fact.host.clone()),
            sources: self.sources.then(|| as_set(&fact.sources)),
            tags: self.tags.then(|| as_set(&fact.tags)),
        }
    }
}

fn as_set<T: Ord + Clone>(list: &[T]) -> Vec<T> {
    let mut set = list.to_vec();
    set.sort();
    set.dedup();
    set
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.host, "host"), (self.tags, "tags"), (self.sources, "sources")];
        let words: Vec<_> = words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
        f.write_str(if words.is_empty() { "none" } else { "" })?;
        f.write_str(&words.join(","))
    }
}

impl FromStr for GroupBy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut by = Self { host: false, tags: false, sources: false };
        if matches!(text, "" | "none") {
            return Ok(by);
        }
        for word in text.split(',') {
            match word.trim() {
                "host" | "hosts" => by.host = true,
                "tags" | "tag" => by.tags = true,
                "sources" | "source" | "paths" => by.sources = true,
                other => {
                    return Err(format!("\"{other}\" is none of host, tags and sources, or none"));
                }
            }
        }
        Ok(by)
    }
}
