//! `icecore cat`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use serde_json::json;

use crate::ops::{cat, path};
use crate::report::json as as_json;

use super::context::Context;
use super::exit::Exit;
use super::misplaced;
use super::progress::talk;
use super::snapshots::FilterOptions;

/// Write files of a snapshot to standard output
///
/// Raw bytes, one file after the other, holes as zeros; every byte is checked before it is
/// written. Symbolic links are not followed. With --json the report goes to standard error, since
/// standard output is the data.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup cat latest:/etc/fstab
  icecore -r /backup cat latest:/db.sql | psql")]
pub(crate) struct Cat {
    /// Snapshot, and the path of a file in it
    #[arg(value_name = "SNAP:/PATH", required = true)]
    at: Vec<OsString>,

    #[command(flatten)]
    filter: FilterOptions,
}

impl Cat {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let repo = cx.repository()?;
        let filter = self.filter.filter();
        let mut files = Vec::new();
        for name in &self.at {
            let explained = |err: anyhow::Error| misplaced::explained(&repo, err);
            let at = path::resolve(&repo, name.as_bytes(), &filter);
            let at = at.map_err(|err| explained(err.into()))?;
            let interrupt = cx.interrupt.clone();
            let size = cat::run(&repo, &at, interrupt.flag(), |bytes| {
                cx.out.write(bytes).map_err(anyhow::Error::from)
            });
            let size = size.map_err(explained)?;
            files.push(json!({
                "snapshot": at.snapshot.id,
                "path": as_json::path(&at.path),
                "size": size,
            }));
        }
        cx.out.finish()?;
        if cx.global.json {
            talk(&as_json::document(json!({ "files": files })).to_string());
        }
        Ok(Exit::Done)
    }
}
