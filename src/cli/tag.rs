//! `icecore tag`.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

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
    #[arg(long, value_name = "TAG", value_parser = NonEmptyStringValueParser::new())]
    remove: Vec<String>,

    /// Have this tag and no other than those of further --set and --add; "" for none
    #[arg(long, value_name = "TAG", value_parser = word_or_none)]
    set: Vec<String>,

    /// Only tell what the tags would be
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    filter: FilterOptions,
}

impl Tag {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let set = (!self.set.is_empty())
            .then(|| self.set.into_iter().filter(|tag| !tag.is_empty()).collect());
        let edit = TagEdit { set, add: self.add, remove: self.remove, protect: None };
        change(cx, &self.names, self.filter, &edit, self.dry_run)
    }
}

/// Changes the snapshots of these names, and shows them; or shows what would become of them.
pub(super) fn change(
    cx: &mut Context,
    names: &[String],
    filter: FilterOptions,
    edit: &TagEdit,
    dry_run: bool,
) -> anyhow::Result<Exit> {
    let repo = cx.repository()?;
    let filter = filter.filter();
    let tagged = match dry_run {
        true => tag::plan(&repo, names, &filter, edit)?,
        false => tag::run(&repo, names, &filter, edit, &marker())?,
    };
    cx.report(|| report::tagged_json(&tagged, dry_run), || report::tagged_text(&tagged))?;
    Ok(Exit::Done)
}

/// A tag that rules and filters can name: commas part those of --keep-tag.
pub(super) fn word(text: &str) -> Result<String, String> {
    match text {
        "" => Err("a tag has at least one letter".into()),
        _ if text.contains(',') => {
            Err("a tag has no comma: give the option once for each tag".into())
        }
        _ => Ok(text.into()),
    }
}

fn word_or_none(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { word(text) }
}
