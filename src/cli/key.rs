//! `icecore key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::format::{Derivation, KeyId};
use crate::fsutil;
use crate::localfs::Owners;
use crate::repo::{KdfCost, RepoError, Secret, SlotInfo};
use crate::report::{json as as_json, text};
use crate::units;

use super::ask::confirm;
use super::context::{Context, Opened};
use super::error::{CliError, show_damage};
use super::exit::Exit;
use super::secrets;

/// List, add, remove and change the keys of a repository
///
/// Each key slot opens the repository for one passphrase or key file. Adding or changing one
/// rewrites a small object and no data. Somebody who could open the repository once may have kept
/// its master key: removing a slot does not take that back.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  icecore -r /backup key list
  icecore -r /backup key add --new-key-file /root/backup.key --label 'nightly job'
  icecore -r /backup key passwd
  icecore -r /backup key remove 4f1c --yes")]
pub(crate) struct Key {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the key slots; an asterisk marks what opened the repository now
    List,
    /// Add a slot for another passphrase or key file
    Add(NewKey),
    /// Remove a slot; the last one stays
    Remove(RemoveKey),
    /// Replace the key in use by another one
    Passwd(NewKey),
}

/// Which slot, and whether to ask: nobody who has that key only can open the repository afterwards.
#[derive(Debug, Args)]
struct RemoveKey {
    /// The slot's id, or the start of it
    id: String,

    /// Show which slot that is, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// The new secret: from here, from ICECORE_NEW_PASSPHRASE, or asked for twice.
#[derive(Debug, Args)]
struct NewKey {
    /// File whose whole contents are the new key; at least 16 bytes
    #[arg(long, value_name = "FILE", conflicts_with = "new_passphrase_file")]
    new_key_file: Option<PathBuf>,

    /// File that holds the new passphrase; a newline at its end does not count
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,

    /// Words that tell it from others [default: user@host]
    #[arg(long, value_name = "WORDS")]
    label: Option<String>,
}

impl NewKey {
    fn secret(&self) -> anyhow::Result<Secret> {
        secrets::new(self.new_key_file.as_deref(), self.new_passphrase_file.as_deref())
    }

    fn label(&self) -> String {
        self.label.clone().unwrap_or_else(default_label)
    }
}

/// Who and where: `user@host`.
pub(crate) fn default_label() -> String {
    format!("{}@{}", user(), fsutil::machine())
}

/// The name of the user who runs this, or the number.
pub(crate) fn user() -> String {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    match Owners::new().owner(uid, gid).user.as_str() {
        "" => uid.to_string(),
        name => name.to_owned(),
    }
}

impl Key {
    pub(crate) fn run(self, cx: &mut Context) -> anyhow::Result<Exit> {
        let opened = cx.open()?;
        let Some(secret) = &opened.secret else {
            return Err(CliError::failed(format!(
                "{} is not encrypted, it has no keys",
                opened.repo.location()
            ))
            .into());
        };
        let id = match self.action {
            Action::List => return list(cx, &opened),
            Action::Add(new) => {
                let id = opened.repo.add_key(&new.secret()?, &new.label(), KdfCost::DEFAULT)?;
                changed(cx, "added", id)?
            }
            Action::Remove(remove) => return remove.run(cx, &opened),
            Action::Passwd(new) => {
                let (label, new) = (new.label(), new.secret()?);
                let id = opened.repo.change_key(secret, &new, &label, KdfCost::DEFAULT)?;
                changed(cx, "changed", id)?
            }
        };
        Ok(id)
    }
}

impl RemoveKey {
    fn run(&self, cx: &mut Context, opened: &Opened) -> anyhow::Result<Exit> {
        let id = opened.repo.removable_key(&self.id)?;
        let slots = opened.repo.key_slots(opened.secret.as_ref())?.into_iter().flatten();
        let slot: Vec<_> = slots.filter(|slot| slot.slot.id == id).collect();
        let plan = || json!({ "id": id, "keys": slots_json(&slot) });
        let words = || match slot.is_empty() {
            true => format!("key slot {id} cannot be read\n"),
            false => list_text(&slot),
        };
        if self.dry_run {
            cx.data(|| json!({ "dry_run": true, "plan": plan() }), words)?;
            return Ok(Exit::Done);
        }
        cx.show_plan(self.yes, words)?;
        confirm("Remove this key?", self.yes, cx.global.json)?;
        opened.repo.remove_key(&id.to_string())?;
        let done = || json!({ "dry_run": false, "plan": plan(), "removed": id });
        cx.report(done, || format!("removed key slot {id}\n"))?;
        Ok(Exit::Done)
    }
}

fn changed(cx: &mut Context, what: &str, id: KeyId) -> anyhow::Result<Exit> {
    let done = match what {
        "changed" => "changed the key: its slot is now",
        _ => "added key slot",
    };
    cx.report(|| json!({ what: id }), || format!("{done} {id}\n"))?;
    Ok(Exit::Done)
}

fn list(cx: &mut Context, opened: &Opened) -> anyhow::Result<Exit> {
    let (mut slots, mut damaged) = (Vec::new(), Vec::new());
    for slot in opened.repo.key_slots(opened.secret.as_ref())? {
        match slot {
            Ok(slot) => slots.push(slot),
            Err(err) => damaged.push(err),
        }
    }
    cx.interrupt.check()?;
    slots.sort_by_key(|slot| (slot.slot.created, slot.slot.id));
    damaged.iter().for_each(show_damage);
    cx.data(|| list_json(&slots, &damaged), || list_text(&slots))?;
    Ok(if damaged.is_empty() { Exit::Done } else { Exit::Damage })
}

fn kind(slot: &SlotInfo) -> &'static str {
    match slot.slot.derivation {
        Derivation::Passphrase { .. } => "passphrase",
        Derivation::KeyFile { .. } => "key-file",
    }
}

fn slots_json(slots: &[SlotInfo]) -> Vec<serde_json::Value> {
    let each = |slot: &SlotInfo| {
        json!({
            "id": slot.slot.id,
            "kind": kind(slot),
            "created": as_json::time(slot.slot.created),
            "label": slot.slot.label,
            "in_use": slot.in_use,
        })
    };
    slots.iter().map(each).collect()
}

fn list_json(slots: &[SlotInfo], damaged: &[RepoError]) -> serde_json::Value {
    let damaged = damaged.iter().map(ToString::to_string);
    json!({ "keys": slots_json(slots), "damaged": damaged.collect::<Vec<_>>() })
}

fn list_text(slots: &[SlotInfo]) -> String {
    let row = |slot: &SlotInfo| {
        let mark = if slot.in_use { "*" } else { "" };
        let label = text::escaped(slot.slot.label.as_bytes()).into_owned();
        let created = units::local_time(slot.slot.created);
        vec![mark.into(), slot.slot.id.short(), kind(slot).into(), created, label]
    };
    text::table(&["", "id", "kind", "added", "label"], &[], slots.iter().map(row).collect())
}
