//! `icecore umount`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::fuse::{self, Readers};
use crate::report::{json as as_json, text};

use super::context::Context;
use super::exit::Exit;
use super::mount::bytes;

/// Unmount what icecore mounted
///
/// Takes off mounts of icecore only, also those whose process has died. Exit code 11 where someone
/// still uses it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore umount /mnt/back
  icecore umount --lazy /mnt/back")]
pub(crate) struct Umount {
    /// Where it is mounted
    #[arg(required = true)]
    mountpoint: Vec<PathBuf>,

    /// Take it off the tree now; it ends when the last who uses it is done
    #[arg(short = 'z', long)]
    lazy: bool,
}

impl Umount {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let readers = if self.lazy { Readers::Outlive } else { Readers::Respect };
        for mountpoint in &self.mountpoint {
            fuse::umount(mountpoint, readers)?;
        }
        let points = || self.mountpoint.iter().map(|point| bytes(point));
        cx.report(
            || json!({ "unmounted": points().map(as_json::path).collect::<Vec<_>>() }),
            || points().map(|point| format!("unmounted {}\n", text::escaped(point))).collect(),
        )?;
        Ok(Exit::Done)
    }
}
