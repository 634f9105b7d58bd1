//! Whether the parts of a captured group fit together, asked of the tree before it is committed.

use std::collections::BTreeSet;
use std::path::Path;

use crate::capture::{feast, lance, sqlite};
use crate::format::{Body, ChunkId, Trouble};
use crate::ops::ingest::Drafted;
use crate::ops::path;
use crate::repo::NodeRef;
use crate::strategy::file::Source;

use super::mlflow as tracking;

/// Datasets whose newest version is recorded, at most.
const DATASETS_TOLD: usize = 100;

/// What a check found.
pub(super) enum Found {
    /// What there is; with troubles where something is amiss at the source itself, which capturing it
    /// anew would not help.
    Taken(Vec<Trouble>, Facts),
    /// Something changed in between.
    Missing(String),
}

impl Found {
    const NOTHING: Self = Self::Taken(Vec::new(), Vec::new());
}

/// Counts and versions for the record of the group.
pub(super) type Facts = Vec<(String, String)>;

/// A group's members with their names, in their order.
type Group<'a> = [(&'a str, &'a Source)];

/// The entry at a path of this machine.
pub(super) fn lookup(drafted: Drafted<'_>, path: &Path) -> Result<Option<NodeRef>, String> {
    let mut node = NodeRef::new(drafted.root.clone().into(), None, 0).ok_or("there is no root")?;
    for part in path.iter().filter(|part| *part != "/") {
        let Body::Directory { page, .. } = &node.body else { return Ok(None) };
        let name = std::os::unix::ffi::OsStrExt::as_bytes(part);
        match drafted.repo.lookup(*page, name).map_err(|err| err.to_string())? {
            Some(below) => node = below,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

/// A file's content, of at most so many bytes.
pub(super) fn content(drafted: Drafted<'_>, node: &NodeRef, max: u64) -> Result<Vec<u8>, String> {
    let Body::File(file) = &node.body else { return Err("it is no file".to_owned()) };
    if file.size > max {
        return Err(format!("it has {} bytes; at most {max} are looked at", file.size));
    }
    let mut bytes = vec![0; file.size as usize];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match drafted.repo.read_at(file, filled as u64, rest).map_err(|err| err.to_string())? {
            0 => return Err("it ends too early".to_owned()),
            count => filled += count,
        }
    }
    Ok(bytes)
}

/// Each version of a registered model has its artifacts in the snapshot, where they are local.
/// `models` are those that a server told, where the database is one's.
pub(super) fn mlflow(
    drafted: Drafted<'_>,
    members: &Group<'_>,
    models: Option<Vec<tracking::Model>>,
) -> Result<Found, String> {
    let Some(((name, first), _)) = members.split_first() else { return Ok(Found::NOTHING) };
    let models = match models {
        Some(models) => models,
        None => tracking::models(drafted, first)
            .map_err(|what| format!("member {name}, the tracking database: {what}"))?,
    };
    let mut troubles = Vec::new();
    let facts = vec![("model_versions".to_owned(), models.len().to_string())];
    for model in models {
        let Some(local) = model.path() else { continue };
        let there = lookup(drafted, &local)?.is_some_and(|node| match &node.body {
            Body::Directory { totals, .. } => totals.files > 0,
            _ => true,
        });
        if !there {
            let bytes = std::os::unix::ffi::OsStrExt::as_bytes(local.as_os_str());
            let (name, version) = (&model.name, &model.version);
            let what = format!("artifacts of version {version} of model {name} are missing");
            troubles.push(Trouble { path: bytes.to_vec(), what });
        }
    }
    Ok(Found::Taken(troubles, facts))
}

/// Every file that a captured version of a dataset names was captured too.
pub(super) fn lance(drafted: Drafted<'_>, members: &Group<'_>) -> Result<Found, String> {
    let (mut datasets, mut facts) = (0, Facts::new());
    for path in members.iter().flat_map(|(_, member)| &member.paths) {
        let Some(top) = lookup(drafted, Path::new(path))? else { continue };
        for walked in path::walk(drafted.repo, b"", top.clone()) {
            let walked = walked.map_err(|err| err.source.to_string())?;
            let Some(dataset) = walked.path.strip_suffix(b"_versions") else { continue };
            let Body::Directory { page, .. } = &walked.node.body else { continue };
            datasets += 1;
            let folder = Path::new(path).join(path_of(dataset));
            let (named, newest) = versions(drafted, *page)?;
            for file in named {
                if lookup(drafted, &folder.join(&file))?.is_none() {
                    let folder = folder.display();
                    return Ok(Found::Missing(format!(
                        "{folder} names {file}, which was gone when it was to be captured"
                    )));
                }
            }
            if datasets <= DATASETS_TOLD {
                let folder = folder.to_string_lossy();
                let folder = folder.trim_end_matches('/');
                facts.push((format!("rows.{folder}"), newest.rows.to_string()));
                facts.push((format!("version.{folder}"), newest.version.to_string()));
            }
        }
    }
    if datasets == 0 {
        return Err("no Lance dataset was found: no folder _versions".to_owned());
    }
    Ok(Found::Taken(Vec::new(), facts))
}

/// The files that all versions of a dataset name, and its newest version.
fn versions(
    drafted: Drafted<'_>,
    page: Option<ChunkId>,
) -> Result<(BTreeSet<String>, lance::Manifest), String> {
    let (mut named, mut newest) = (BTreeSet::new(), lance::Manifest::default());
    for version in drafted.repo.entries(page) {
        let version = version.map_err(|err| err.to_string())?;
        if !version.name.ends_with(b".manifest") {
            continue;
        }
        let bytes = content(drafted, &version, lance::MANIFEST_MAX)?;
        let Some(mut manifest) = lance::manifest(&bytes) else { continue };
        named.extend(std::mem::take(&mut manifest.files));
        if manifest.version >= newest.version {
            newest = manifest;
        }
    }
    Ok((named, newest))
}

fn path_of(bytes: &[u8]) -> &Path {
    let bytes = bytes.strip_prefix(b"/").unwrap_or(bytes);
    Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

/// The registry, which the first member is, is whole, and the files are there that it names.
pub(super) fn feast(drafted: Drafted<'_>, members: &Group<'_>) -> Result<Found, String> {
    let Some(((name, registry), _)) = members.split_first() else { return Ok(Found::NOTHING) };
    let (mut troubles, mut sources) = (Vec::new(), 0);
    for path in registry.paths.iter().chain(&registry.sqlite) {
        let Some(node) = lookup(drafted, Path::new(path))? else {
            return Err(format!("member {name}: there is no registry {path}"));
        };
        let Body::File(_) = &node.body else { continue };
        let bytes = content(drafted, &node, feast::REGISTRY_MAX)?;
        if bytes.starts_with(sqlite::MAGIC) {
            continue;
        }
        let Some(files) = feast::files(&bytes) else {
            return Ok(Found::Missing(format!("the registry {path} was caught half written")));
        };
        sources += files.len();
        for file in files.iter().map(|file| file.strip_prefix("file://").unwrap_or(file)) {
            let is_member = |(_, member): &(&str, &Source)| {
                member.paths.iter().any(|path| Path::new(file).starts_with(path))
            };
            if !members.iter().any(is_member) || lookup(drafted, Path::new(file))?.is_some() {
                continue;
            }
            let what = format!("the registry {path} names it, and it is missing");
            if Path::new(file).exists() {
                return Ok(Found::Missing(format!("{file}: {what}")));
            }
            troubles.push(Trouble { path: file.as_bytes().to_vec(), what });
        }
    }
    let facts = vec![("file_sources".to_owned(), sources.to_string())];
    Ok(Found::Taken(troubles, facts))
}
