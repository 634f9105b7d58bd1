//! The manifest: every byte and all metadata of what services are shown, against the snapshot.
//!
//! Of a mounted snapshot a view of its own is compared, made by the very steps that make the one
//! that services see, over the same mount: so services are measured with cold caches, may write,
//! and whatever is wrong below the layers is found all the same. A copy is compared before any
//! service starts.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::format::DrillCheck;
use crate::ops::path::descend;
use crate::ops::restore::{self, RestoreOptions, Sample};
use crate::ops::{OpError, Result};
use crate::progress::Silent;
use crate::repo::Repository;

use super::order::{Part, nanos};

/// Compares one part with the snapshot; the first difference, or what was compared.
fn compare(
    repo: &Repository,
    part: &Part,
    at: &Path,
    any_owner: bool,
    sample: Option<Sample>,
) -> Result<String, String> {
    let said = |err: OpError| crate::units::chain(&err);
    let snapshot = repo.read_snapshot(part.snapshot).map_err(|err| said(err.into()))?;
    let snapshot = snapshot.ok_or("the snapshot is gone")?;
    let (path, node) = descend(repo, &snapshot, part.path.as_bytes()).map_err(said)?;
    if fs::symlink_metadata(at).is_err() {
        return Err(format!("{} is not there", part.at));
    }
    let options = RestoreOptions {
        resolved: crate::ops::path::Resolved { snapshot, path, node },
        to: at.to_owned(),
        dry_run: true,
        verify: true,
        delete: false,
        threads: 0,
        owner_names: false,
        any_owner,
        sample,
    };
    let report =
        restore::compare(repo, &options, &Silent, &AtomicBool::new(false)).map_err(said)?;
    match report.troubles.first() {
        None => Ok(format!(
            "{} files, {} bytes as in snapshot {}",
            report.files_verified,
            report.bytes_verified,
            part.snapshot.short()
        )),
        Some(trouble) => {
            let shown = crate::ops::path::escaped(at.as_os_str().as_encoded_bytes());
            let below = trouble.path.strip_prefix(&shown).unwrap_or(&trouble.path);
            let more = match report.troubles_count {
                0 | 1 => String::new(),
                count => format!(" (and {} more)", count - 1),
            };
            Err(format!(
                "{}{below} is not as in snapshot {}: {}{more}",
                part.at,
                part.snapshot.short(),
                trouble.what
            ))
        }
    }
}

/// The check of a component, all its parts. Without root, owners are not those that are stored.
pub(super) fn check(
    repo: &Repository,
    name: String,
    parts: &[(&Part, PathBuf)],
    any_owner: bool,
) -> DrillCheck {
    let start = Instant::now();
    let mut told = Vec::new();
    let mut wrong = parts.is_empty().then(|| "it has no paths".to_owned());
    for (part, at) in parts {
        match compare(repo, part, at, any_owner, part.sample) {
            Ok(what) => told.push(what),
            Err(what) => {
                wrong = Some(what);
                break;
            }
        }
    }
    let (passed, duration_ns) = (wrong.is_none(), nanos(start.elapsed()));
    let told = wrong.unwrap_or_else(|| told.join("; "));
    DrillCheck { name, kind: "manifest".into(), passed, duration_ns, told }
}

/// How long it takes to compare what is in any sample; nothing where no sample was drawn. What it
/// finds the check will find.
pub(super) fn fixed(repo: &Repository, parts: &[(&Part, PathBuf)], any_owner: bool) -> Duration {
    let start = Instant::now();
    for (part, at) in parts.iter().filter(|(part, _)| part.sample.is_some()) {
        let least = part.sample.map(Sample::nothing);
        let _ = compare(repo, part, at, any_owner, least);
    }
    start.elapsed()
}

/// A check of damaged data that could not be carried out: it shows nothing.
pub(super) fn undamaged(name: String, why: &str) -> DrillCheck {
    let duration_ns = nanos(Duration::ZERO);
    DrillCheck { name, kind: "manifest".into(), passed: true, duration_ns, told: why.to_owned() }
}

/// Flips a bit in the middle of one file, the smallest for choice, and compares that file: the
/// check must fail for it. The bit is then flipped back. Where no file has content, the time of the
/// component is changed instead.
pub(super) fn control(
    repo: &Repository,
    name: String,
    parts: &[(&Part, PathBuf)],
    any_owner: bool,
) -> DrillCheck {
    for (part, at) in parts {
        match smallest(at) {
            Ok(None) => {}
            Ok(Some((path, below))) => {
                let whole = format!("{}/{below}", part.path.trim_end_matches('/'));
                let shown = format!("{}/{below}", part.at);
                let (path_in, shown) = match below.is_empty() {
                    true => (part.path.clone(), part.at.clone()),
                    false => (whole, shown),
                };
                let file = Part {
                    path: path_in,
                    at: shown,
                    is_directory: false,
                    sample: None,
                    ..(*part).clone()
                };
                let compare = || check(repo, name.clone(), &[(&file, path.clone())], any_owner);
                return with_damage(&path, compare).unwrap_or_else(|err| {
                    undamaged(name, &format!("{} could not be damaged: {err}", file.at))
                });
            }
            Err(err) => return undamaged(name, &format!("it could not be damaged: {err}")),
        }
    }
    let Some((part, at)) = parts.first() else {
        return undamaged(name, "it has no paths that could be damaged");
    };
    let compare = || check(repo, name.clone(), &[(*part, at.clone())], any_owner);
    with_other_time(at, compare)
        .unwrap_or_else(|err| undamaged(name, &format!("its time could not be changed: {err}")))
}

/// Does something while a folder or an empty file is of another time.
fn with_other_time<T>(path: &Path, during: impl FnOnce() -> T) -> io::Result<T> {
    let file = File::open(path)?;
    let modified = file.metadata()?.modified()?;
    let set = |time| file.set_times(fs::FileTimes::new().set_modified(time));
    set(modified.checked_add(Duration::from_secs(1)).unwrap_or(std::time::UNIX_EPOCH))?;
    let done = during();
    set(modified)?;
    Ok(done)
}

/// Does something while a bit of a file is another; size and time stay.
fn with_damage<T>(path: &Path, during: impl FnOnce() -> T) -> io::Result<T> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let metadata = file.metadata()?;
    let times = fs::FileTimes::new().set_modified(metadata.modified()?);
    flip(&file, metadata.len() / 2)?;
    file.set_times(times)?;
    let done = during();
    flip(&file, metadata.len() / 2)?;
    file.set_times(times)?;
    Ok(done)
}

/// Flips the top bit of one byte.
pub(super) fn flip(file: &File, offset: u64) -> io::Result<()> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)?;
    file.write_all_at(&byte.map(|byte| byte ^ 0x80), offset)
}

/// Files that are looked at for the smallest.
const LOOKED_AT: usize = 10_000;

/// The smallest file with content among the first ones, and its path below `at`.
fn smallest(at: &Path) -> io::Result<Option<(PathBuf, String)>> {
    let mut best: Option<(u64, PathBuf, String)> = None;
    let mut seen = 0;
    walk(at, &mut |path, len| {
        let below = path.strip_prefix(at).ok().and_then(|below| below.to_str());
        if let Some(below) = below.filter(|_| best.as_ref().is_none_or(|(least, ..)| len < *least))
        {
            best = Some((len, path.to_owned(), below.to_owned()));
        }
        seen += 1;
        seen >= LOOKED_AT
    })?;
    Ok(best.map(|(_, path, below)| (path, below)))
}

/// The first regular file with content at or below a path, in order of names.
pub(super) fn first_content(at: &Path) -> io::Result<Option<PathBuf>> {
    let mut first = None;
    walk(at, &mut |path, _| {
        first = Some(path.to_owned());
        true
    })?;
    Ok(first)
}

/// Visits regular files with content, with their lengths, until `visit` has enough.
fn walk(at: &Path, visit: &mut dyn FnMut(&Path, u64) -> bool) -> io::Result<()> {
    let mut waiting = vec![at.to_owned()];
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_file() && metadata.size() > 0 && visit(&path, metadata.size()) {
            return Ok(());
        }
        if metadata.is_dir() {
            let mut entries = fs::read_dir(&path)?
                .map(|entry| Ok(entry?.path()))
                .collect::<io::Result<Vec<_>>>()?;
            entries.sort_by(|a, b| b.cmp(a));
            waiting.extend(entries);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_one_byte_and_leaves_size_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert_eq!(smallest(at).unwrap(), None);
        fs::create_dir(at.join("a")).unwrap();
        fs::write(at.join("a/empty"), "").unwrap();
        fs::write(at.join("a/long"), "123456").unwrap();
        fs::write(at.join("b"), "12345").unwrap();
        assert_eq!(smallest(at).unwrap(), Some((at.join("b"), "b".into())));
        assert_eq!(smallest(&at.join("b")).unwrap(), Some((at.join("b"), String::new())));
        assert_eq!(first_content(at).unwrap(), Some(at.join("a/long")));
        let before = fs::metadata(at.join("b")).unwrap();
        let during = with_damage(&at.join("b"), || fs::read(at.join("b")).unwrap()).unwrap();
        assert_eq!(during, [b'1', b'2', b'3' ^ 0x80, b'4', b'5']);
        assert_eq!(fs::read(at.join("b")).unwrap(), b"12345");
        let after = fs::metadata(at.join("b")).unwrap();
        assert_eq!(before.modified().unwrap(), after.modified().unwrap());
        let time = |of: &Path| fs::metadata(of).unwrap().modified().unwrap();
        for of in [at.join("a"), at.join("a/empty")] {
            let before = time(&of);
            assert_ne!(with_other_time(&of, || time(&of)).unwrap(), before);
            assert_eq!(time(&of), before);
        }
    }
}
