//! Holds the layers of the crate docs: which folder may name which.
//!
//! Guards against the slow slide in which everything comes to know everything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the crate root, and the modules that it may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("format", &[]),
    ("units", &["format", "clock"]),
    ("clock", &["format"]),
    ("progress", &[]),
    ("fsutil", &[]),
    ("sync", &[]),
    ("latency", &[]),
    ("storage", &["format", "fsutil", "sync"]),
    ("codec", &["format"]),
    ("repo", &["format", "units", "clock", "fsutil", "sync", "storage", "codec"]),
    ("localfs", &["format", "fsutil"]),
    ("strategy", &["format", "units", "clock"]),
    ("capture", &["format", "units", "clock", "fsutil", "sync", "localfs"]),
    ("vfs", &["format", "units", "clock", "sync", "repo"]),
    (
        "ops",
        &[
            "format", "units", "clock", "progress", "fsutil", "sync", "storage", "codec", "repo",
            "localfs", "capture", "strategy", "latency",
        ],
    ),
    ("fuse", &["format", "clock", "fsutil", "sync", "latency", "repo", "vfs"]),
    ("report", &["format", "units", "clock", "repo", "strategy", "ops"]),
];

/// Crates that only one module may name.
const OWNED: &[(&str, &str)] = &[
    ("bincode", "format/wire.rs"),
    ("fuser", "fuse/"),
    ("ring", "codec/aead.rs"),
    ("argon2", "codec/kdf.rs"),
    ("fastcdc", "codec/chunker.rs"),
    ("zstd", "codec/block/frame.rs"),
    ("reed_solomon_simd", "codec/parity.rs"),
    ("memmap2", "repo/index/"),
    ("clap", "cli/"),
    ("anyhow", "cli/"),
    ("indicatif", "cli/"),
    ("sd_notify", "cli/manager.rs"),
    ("uzers", "localfs/owners.rs"),
    ("ignore", "ops/"),
    ("redis", "capture/redis.rs"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") && !is_test(&path) {
            found.push(path);
        }
    }
}

/// Files that are compiled for tests only may build what they need from any layer.
fn is_test(path: &Path) -> bool {
    ["tests.rs", "testing.rs", "conformance.rs"].iter().any(|name| path.ends_with(name))
}

/// The lines of a file that are code: no comments, nothing after the tests begin.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// Crate-root modules that a piece of code names, as `crate::name` or in a braced `use crate::{…}`.
fn named(code: &str, modules: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(braced) => braced.split(';').next().unwrap(),
            None => rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap(),
        };
        let words = list.split(|c: char| !c.is_alphanumeric() && c != '_');
        names.extend(words.filter(|word| modules.contains(word)).map(str::to_owned));
    }
    names
}

#[test]
fn no_folder_names_one_that_it_must_not_know() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let modules: Vec<&str> = ALLOWED.iter().map(|(name, _)| *name).chain(["cli"]).collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let below = file.strip_prefix(&root).unwrap().to_str().unwrap();
        let own = below.split(['/', '.']).next().unwrap();
        let Some(may) = allowed.get(own) else {
            assert!(["lib", "main", "cli"].contains(&own), "{below} is in no layer");
            continue;
        };
        for name in named(&code(&file), &modules) {
            if name != own && !may.contains(&name.as_str()) {
                wrong.push(format!("{below} names crate::{name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_are_named_by_their_owner_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let below = file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let code = code(&file);
        for (name, owner) in OWNED {
            let uses = [format!("use {name}::"), format!("{name}::")];
            let names_it = code.lines().any(|line| {
                uses.iter().any(|word| {
                    line.match_indices(word.as_str()).any(|(at, _)| {
                        let before = line[..at].chars().next_back();
                        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                    })
                })
            });
            if names_it && !below.starts_with(owner) {
                wrong.push(format!("{below} names {name}, which belongs to {owner}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
