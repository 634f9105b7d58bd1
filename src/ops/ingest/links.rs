//! Inodes with several names: read once, stored once, and told apart from those that reuse their
//! number.
//!
//! A number alone proves nothing: when the last name of an inode goes, the next file may get it.
//! So a further name must also have the inode's birth time, or where the file system has none, be
//! unchanged since.

use std::collections::HashMap;
use std::sync::Arc;

use crate::format::{HardLink, Kind, Node, Owner};
use crate::localfs::Found;

use super::ticket::Ticket;

/// What is known of an inode until the last of its names was met.
#[derive(Clone)]
pub(super) struct Linked {
    pub(super) node: Node,
    pub(super) owner: Arc<Owner>,
    pub(super) ticket: Option<Ticket>,
    found: Found,
    names_left: u32,
}

/// The inodes with names still to come.
#[derive(Default)]
pub(super) struct Links {
    met: HashMap<(u64, u64), Linked>,
    /// Devices in the order met: their numbers differ from boot to boot, their order rarely.
    devices: Vec<u64>,
    /// Of the stage: what is read in different stages may differ, and is not linked.
    stage: u32,
}

fn same_inode(a: &Found, b: &Found) -> bool {
    let born = a.btime.is_some() && b.btime.is_some();
    a.kind == b.kind && if born { a.btime == b.btime } else { a.unchanged(b) }
}

impl Links {
    pub(super) fn new(stage: u32) -> Self {
        Self { stage, ..Self::default() }
    }

    /// What is known of this inode from an earlier name.
    pub(super) fn known(&mut self, found: &Found) -> Option<Linked> {
        let key = (found.device, found.inode);
        let linked = self.met.get_mut(&key)?;
        if !same_inode(&linked.found, found) {
            self.met.remove(&key);
            return None;
        }
        linked.names_left = linked.names_left.saturating_sub(1);
        let known = linked.clone();
        if linked.names_left == 0 {
            self.met.remove(&key);
        }
        Some(known)
    }

    /// Keeps what the first name of an inode showed.
    pub(super) fn remember(
        &mut self,
        found: Found,
        node: &Node,
        owner: &Arc<Owner>,
        ticket: Option<&Ticket>,
    ) {
        let names_left = found.nlink.saturating_sub(1);
        let (node, owner, ticket) = (node.clone(), Arc::clone(owner), ticket.cloned());
        let linked = Linked { node, owner, ticket, found, names_left };
        self.met.insert((found.device, found.inode), linked);
    }

    /// The group of an inode's names; `None` for what has one name, and for directories.
    pub(super) fn group(&mut self, found: &Found) -> Option<HardLink> {
        if found.nlink < 2 || found.kind == Kind::Directory {
            return None;
        }
        let known = self.devices.iter().position(|&device| device == found.device);
        let ordinal = known.unwrap_or_else(|| {
            self.devices.push(found.device);
            self.devices.len() - 1
        });
        let born = found.btime.unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(ordinal as u64).to_le_bytes()).update(&found.inode.to_le_bytes());
        hasher.update(&born.secs.to_le_bytes()).update(&born.nanos.to_le_bytes());
        if self.stage > 0 {
            hasher.update(&self.stage.to_le_bytes());
        }
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        let group = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Some(HardLink { group, count: found.nlink })
    }
}
