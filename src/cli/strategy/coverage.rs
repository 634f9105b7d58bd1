//! `icecore strategy coverage`.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::FileOption;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::ops::coverage::{self, Asset, Coverage as Found, Uncovered};
use crate::report::{json as as_json, text};
use crate::units;

#[derive(Debug, Args)]
pub(super) struct Coverage {
    /// Further folders to look in; of these only what looks like an asset is named
    #[arg(value_name = "DIR")]
    further: Vec<PathBuf>,

    #[command(flatten)]
    file: FileOption,
}

impl Coverage {
    pub(super) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let strategy = self.file.read()?;
        cx.interrupt.install()?;
        let found = coverage::run(&strategy, &self.further, cx.interrupt.flag())?;
        cx.data(|| as_document(&found), || in_words(&found))?;
        let is_covered = found.uncovered.is_empty() && found.assets.is_empty();
        Ok(match (is_covered, found.unread.is_empty()) {
            (false, _) => Exit::Damage,
            (true, false) => Exit::Partial,
            (true, true) => Exit::Done,
        })
    }
}

fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn as_document(found: &Found) -> Value {
    let part = |part: &Uncovered| {
        let Uncovered { path, files, bytes } = part;
        json!({ "path": as_json::path(bytes_of(path)), "files": files, "bytes": bytes })
    };
    let asset = |asset: &Asset| {
        let Asset { path, looks, bytes } = asset;
        let path = as_json::path(bytes_of(path));
        json!({ "path": path, "looks_like": looks.to_string(), "bytes": bytes })
    };
    let unread = |(path, what): &(PathBuf, String)| json!({ "path": as_json::path(bytes_of(path)), "what": what });
    json!({
        "files_covered": found.files_covered,
        "uncovered": found.uncovered.iter().map(part).collect::<Vec<_>>(),
        "assets": found.assets.iter().map(asset).collect::<Vec<_>>(),
        "unread": found.unread.iter().map(unread).collect::<Vec<_>>(),
    })
}

fn in_words(found: &Found) -> String {
    let shown = |path: &Path| text::escaped(bytes_of(path)).into_owned();
    let mut out = String::new();
    let parts = found
        .uncovered
        .iter()
        .map(|part| vec![text::number(part.files), units::size(part.bytes), shown(&part.path)]);
    if !found.uncovered.is_empty() {
        out += &text::table(&["files", "size", "no source covers"], &[0, 1], parts.collect());
    }
    let assets = found.assets.iter().map(|asset| {
        let size = if asset.bytes == 0 { String::new() } else { units::size(asset.bytes) };
        vec![asset.looks.to_string(), size, shown(&asset.path)]
    });
    if !found.assets.is_empty() {
        out += &text::table(&["looks like", "size", "not covered"], &[1], assets.collect());
    }
    for (path, what) in &found.unread {
        out += &format!("cannot look at {}: {what}\n", shown(path));
    }
    out + &format!("{} covered\n", text::count(found.files_covered, "file"))
}
