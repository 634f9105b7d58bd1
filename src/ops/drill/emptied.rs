//! Parts of what was restored, emptied for a while: an empty folder stands where a folder stood, an
//! empty file where a file did.
//!
//! Where services are started again meanwhile, `/tmp` and its like are new as well, so that nothing
//! keeps them from it that they left there. What lies in an emptied place and is not to be emptied
//! is shown in it again.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::ops::{OpError, Result};

use super::namespace::{bind, detach, mount_memory};
use super::order::{Order, Part};
use super::world::OWN;

/// Folders that are new when services start, and their modes.
const FRESH: [(&str, &str); 4] =
    [("/tmp", "1777"), ("/run", "755"), ("/var/tmp", "1777"), ("/dev/shm", "1777")];

/// What was put in the place of others, in the order in which it was.
pub(super) struct Emptied(Vec<PathBuf>);

/// What becomes of a place.
struct Place<'a> {
    at: &'a Path,
    is_directory: bool,
    becomes: Becomes,
}

enum Becomes {
    /// Empty, like what was there.
    Empty(Option<Metadata>),
    /// What was there, which is kept here.
    Shown(PathBuf),
}

impl Emptied {
    /// Empties some parts, and with `fresh` the folders of services that start.
    pub(super) fn begin(
        order: &Order,
        is_emptied: &dyn Fn(&Part) -> bool,
        fresh: bool,
    ) -> Result<Self> {
        let mut emptied = Self(Vec::new());
        let fresh = FRESH.iter().filter(|(at, _)| fresh && Path::new(at).is_dir());
        let mut outer: Vec<&Path> = fresh.clone().map(|(at, _)| Path::new(at)).collect();
        let parts = order.parts.iter().filter(|part| is_emptied(part));
        outer.extend(parts.map(|part| Path::new(&part.at)));
        let places = emptied.places(order, is_emptied, &outer)?;
        for (at, mode) in fresh {
            mount_memory(Path::new(at), mode)?;
            emptied.0.push(PathBuf::from(at));
        }
        for place in &places {
            match &place.becomes {
                Becomes::Shown(kept) => emptied.put(kept, place.at, place.is_directory)?,
                Becomes::Empty(was) => emptied.empty(place, was.as_ref())?,
            }
        }
        Ok(emptied)
    }

    /// All that changes, each outer place before what lies in it; keeps what is to be shown again.
    fn places<'o>(
        &mut self,
        order: &'o Order,
        is_emptied: &dyn Fn(&Part) -> bool,
        outer: &[&Path],
    ) -> Result<Vec<Place<'o>>> {
        let mut places = Vec::new();
        let mut all: Vec<(&Path, bool, bool)> = Vec::new();
        all.extend(order.drill.writable.iter().map(|at| (Path::new(at), true, false)));
        let part = |part: &'o Part| (Path::new(&part.at), part.is_directory, is_emptied(part));
        all.extend(order.parts.iter().map(part));
        all.sort_by_key(|(at, ..)| at.components().count());
        for (number, (at, is_directory, is_emptied)) in all.into_iter().enumerate() {
            let becomes = if is_emptied {
                Becomes::Empty(at.metadata().ok())
            } else if outer.iter().any(|outer| at.starts_with(outer)) && at.exists() {
                let kept = Path::new(OWN).join("kept").join(number.to_string());
                self.put(at, &kept, is_directory)?;
                Becomes::Shown(kept)
            } else {
                continue;
            };
            places.push(Place { at, is_directory, becomes });
        }
        Ok(places)
    }

    /// Shows something at another place, which is made where it is missing.
    fn put(&mut self, from: &Path, at: &Path, is_directory: bool) -> Result<()> {
        make(at, is_directory)?;
        bind(from, at)?;
        self.0.push(at.to_owned());
        Ok(())
    }

    fn empty(&mut self, place: &Place<'_>, was: Option<&Metadata>) -> Result<()> {
        let at = place.at;
        make(at, place.is_directory)?;
        match place.is_directory {
            true => mount_memory(at, "755")?,
            false => bind(Path::new("/dev/null"), at)?,
        }
        self.0.push(at.to_owned());
        if let Some(was) = was.filter(|_| place.is_directory) {
            // Services find a folder of theirs, as after a restore of nothing. In a namespace
            // without root not every owner can be.
            let _ = chown(at, Some(was.uid()), Some(was.gid()));
            fs::set_permissions(at, fs::Permissions::from_mode(was.mode() & 0o7777))
                .map_err(|err| OpError::io(format!("set the mode of {}", at.display()), err))?;
        }
        Ok(())
    }

    /// Puts all back.
    pub(super) fn end(self) -> Result<()> {
        self.0.into_iter().rev().try_for_each(|at| detach(&at))
    }
}

/// Makes an empty place where there is none.
fn make(at: &Path, is_directory: bool) -> Result<()> {
    let failed = |err| OpError::io(format!("make {}", at.display()), err);
    let folder = if is_directory { Some(at) } else { at.parent() };
    folder.filter(|it| !it.exists()).map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    match is_directory || at.exists() {
        true => Ok(()),
        false => fs::File::create(at).map(drop).map_err(failed),
    }
}
