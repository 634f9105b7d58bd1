//! `icecore tag`.

use clap::Args;

use crate::ops::tag::{self, TagEdit};
use crate::report::forget as report;

use super::context::Context;
use super::exit::Exit;
use super::forget::marker;
use super::snapshots::FilterOptions;

/// Change the tags of snapshots
///
/// Snapshots themselves never change: a record beside one says what its tags are now, and the last
/// one holds. All commands and mounts go by it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup tag latest --add release --remove nightly
  icecore -r /backup tag 5bd1f3a2 --set release --set v2.1")]
#[command(group = clap::ArgGroup::new("edit").required(true).multiple(true).args(["add", "remove", "set"]))]
pub(crate) struct Tag {
    /// Which snapshots
    #[arg(value_name = "SNAP", required = true)]
    names: Vec<String>,

    /// Add this tag
    #[arg(long, value_name = "TAG", value_parser = word)]
    add: Vec<String>,

    /// Remove this tag
    #[arg(long, value_name = "TAG", value_parser = word)]
    remove: Vec<String>,

    /// Have this tag and no other than those of further --set and --add; "" for none
    #[arg(long, value_name = "TAG")]
    set: Vec<String>,

    #[command(flatten)]
    filter: FilterOptions,
}

impl Tag {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let set = (!self.set.is_empty())
            .then(|| self.set.into_iter().filter(|tag| !tag.is_empty()).collect());
        let edit = TagEdit { set, add: self.add, remove: self.remove, protect: None };
        change(cx, &self.names, self.filter, &edit)
    }
}

/// Changes the snapshots of these names, and shows them.
pub(super) fn change(
    cx: &mut Context,
    names: &[String],
    filter: FilterOptions,
    edit: &TagEdit,
) -> anyhow::Result<Exit> {
    let repo = cx.repository()?;
    let tagged = tag::run(&repo, names, &filter.filter(), edit, &marker())?;
    cx.report(|| report::tagged_json(&tagged), || report::tagged_text(&tagged))?;
    Ok(Exit::Done)
}

fn word(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("a tag has at least one letter".into()) } else { Ok(text.into()) }
}
