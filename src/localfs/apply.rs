//! Making an entry's metadata equal to a node's.
//!
//! The entry is pinned by a descriptor first, so all steps act on one inode and no link is
//! followed. The order matters, since the kernel clears and derives:
//! 1. owner, because a change of owner clears set-user-ID and `security.capability`;
//! 2. attributes: what the node lacks goes (a default ACL of the directory above may have given
//!    the entry an ACL), what differs is set. An access ACL rewrites the mode's group bits, so
//! 3. mode comes after, and moves the ACL's mask to where it was at the source;
//! 4. times come last.
//!
//! Content must be written before (writing clears capabilities and sets the times), and a
//! directory's entries made before the directory is applied. Only what differs is touched: a
//! second `apply` changes nothing, not even the ctime. One failing step does not stop the others.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::dir::{checked, proc_path};
use super::error::LocalError;
use super::xattrs::Subject;
use super::{Found, Owners, TargetDir, inspect_fd};
use crate::format::Kind;
use crate::format::{Node, Owner, Time, Xattr};

/// Set-user-ID and set-group-ID.
const SET_ID: u32 = 0o6000;
/// Labels that the target's kernel gives to every entry by a policy of its own. Set where the node
/// has them, but not removed where it has none: that is refused, or breaks the system.
const LABELS: [&[u8]; 4] =
    [b"security.selinux", b"security.SMACK64", b"security.ima", b"security.evm"];

/// How metadata is applied; the default takes owners by number.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApplyOptions<'a> {
    /// With it, owners are taken by name where the name exists on this system.
    pub owner_names: Option<&'a Owners>,
    /// Who owns an entry makes no difference, and is not set: for who sees other owners than those
    /// that are stored, or knows one only.
    pub any_owner: bool,
}

/// Makes the metadata of the entry `name` of `dir` equal to the node's: owner, attributes, mode,
/// and mtime (and atime, where the node has it). An empty `name` is `dir` itself.
///
/// Returns what could not be done, each with its reason; empty when all is exact. Without
/// privilege that is normal for foreign owners; set-ID bits are then left out, since they would
/// lend the rights of the wrong user.
#[must_use]
pub fn apply(
    dir: &TargetDir,
    name: &[u8],
    node: &Node,
    owner: &Owner,
    options: ApplyOptions<'_>,
) -> Vec<LocalError> {
    if name.is_empty() {
        return apply_fd(dir, name, node, owner, options);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = checked(name).and_then(|name| rustix::fs::openat(dir, name, flags, Mode::empty()));
    match opened {
        Ok(fd) => apply_fd(fd, name, node, owner, options),
        Err(errno) => vec![LocalError::new("open", name, errno)],
    }
}

/// [`apply`] to what is opened as `fd` (a [`TargetFile`](super::TargetFile), a [`TargetDir`]):
/// saves opening it again. `name` is for the errors.
#[must_use]
pub fn apply_fd(
    fd: impl AsFd,
    name: &[u8],
    node: &Node,
    owner: &Owner,
    options: ApplyOptions<'_>,
) -> Vec<LocalError> {
    let found = match inspect_fd(&fd) {
        Ok(found) if found.kind == Kind::of(&node.body) => found,
        Ok(_) => return vec![LocalError::new("apply metadata to", name, Errno::STALE)],
        Err(err) => return vec![LocalError::new(err.action, name, err.source)],
    };
    let path = proc_path(&fd, None);
    let mut work = Apply { fd, path, name, node, found, mode_is: found.mode, troubles: Vec::new() };
    let owned = options.any_owner || work.owner(options.numbers(owner));
    work.xattrs();
    work.mode(owned);
    work.times();
    work.troubles
}

/// Whether [`apply`] would have something to do for an entry found so, or its kind is another.
/// `xattrs` are sorted by name, as [`read_xattrs`](super::read_xattrs) gives them. The atime is not compared: reading changes it, and it is set together with the mtime.
#[must_use]
pub fn differs(
    found: &Found,
    xattrs: &[Xattr],
    node: &Node,
    owner: &Owner,
    options: ApplyOptions<'_>,
) -> bool {
    let symlink = found.kind == Kind::Symlink;
    found.kind != Kind::of(&node.body)
        || (found.mode != node.mode && !symlink)
        || (!options.any_owner && (found.uid, found.gid) != options.numbers(owner))
        || found.mtime != node.mtime
        || surplus(xattrs, node).next().is_some()
        || missing(xattrs, node).next().is_some()
}

impl ApplyOptions<'_> {
    fn numbers(&self, owner: &Owner) -> (u32, u32) {
        self.owner_names.map_or((owner.uid, owner.gid), |owners| owners.local(owner))
    }
}

/// Attributes that are there, and that the node does not have.
fn surplus<'a>(there: &'a [Xattr], node: &'a Node) -> impl Iterator<Item = &'a Xattr> {
    there.iter().filter(|xattr| {
        !LABELS.contains(&xattr.name.as_slice()) && find(&node.xattrs, &xattr.name).is_none()
    })
}

/// Attributes of the node that are not there, or have another value there.
fn missing<'a>(there: &'a [Xattr], node: &'a Node) -> impl Iterator<Item = &'a Xattr> {
    node.xattrs.iter().filter(|wanted| find(there, &wanted.name) != Some(wanted))
}

/// Both kinds of list are sorted by name.
fn find<'a>(xattrs: &'a [Xattr], name: &[u8]) -> Option<&'a Xattr> {
    let found = xattrs.binary_search_by(|xattr| xattr.name.as_slice().cmp(name));
    found.ok().and_then(|index| xattrs.get(index))
}

/// One entry being made equal to its node.
struct Apply<'a, Fd> {
    fd: Fd,
    /// The descriptor's path in `/proc`.
    path: Vec<u8>,
    name: &'a [u8],
    node: &'a Node,
    /// As found before the first step.
    found: Found,
    /// The permissions now, as far as they are known for certain; else none that a node can have.
    mode_is: u32,
    troubles: Vec<LocalError>,
}

/// Not a mode: some step may have changed it.
const MODE_UNKNOWN: u32 = u32::MAX;

impl<Fd: AsFd> Apply<'_, Fd> {
    /// Sets the owner. `false` where user and group are not both right afterwards.
    fn owner(&mut self, (uid, gid): (u32, u32)) -> bool {
        if (self.found.uid, self.found.gid) == (uid, gid) {
            return true;
        }
        self.mode_is = MODE_UNKNOWN;
        let changed = self.chown(Some(uid), Some(gid));
        // Who may not give a file away may still give it to a group of theirs.
        if changed.is_err() && gid != self.found.gid {
            let _ = self.chown(None, Some(gid));
        }
        self.note(format!("set owner {uid}:{gid} of"), changed)
    }

    fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        // The number −1 means "leave it" to the kernel; no file can have it.
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(Errno::INVAL);
        }
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&self.fd, c"", uid, gid, flags)
    }

    /// Removes attributes that the node lacks, sets those that differ.
    fn xattrs(&mut self) {
        let subject = Subject::Pinned(self.path.clone());
        let there = match subject.read() {
            Ok(there) => there,
            Err(errno) => {
                self.note("read extended attributes of".into(), Err(errno));
                Vec::new()
            }
        };
        let node = self.node;
        let mut user = surplus(&there, node).chain(missing(&there, node));
        if user.any(|xattr| xattr.name.starts_with(b"user.")) {
            self.make_writable();
        }
        for xattr in surplus(&there, node) {
            let done = subject.remove(&xattr.name);
            self.note_xattr("remove", &xattr.name, done);
        }
        for xattr in missing(&there, node) {
            let done = subject.set(&xattr.name, &xattr.value);
            self.note_xattr("set", &xattr.name, done);
        }
    }

    /// Without privilege, `user.` attributes can be changed only while their owner may write.
    fn make_writable(&mut self) {
        if self.found.mode & 0o200 == 0 && self.found.kind != Kind::Symlink {
            self.mode_is = MODE_UNKNOWN;
            let mode = self.found.mode & 0o777 | 0o200;
            let done = self.chmod(mode);
            self.note("make writable".into(), done);
        }
    }

    /// Sets the permissions, without set-ID bits of a file whose owner is not the node's.
    fn mode(&mut self, owned: bool) {
        if self.found.kind == Kind::Symlink {
            return;
        }
        let mut mode = self.node.mode;
        if !owned && self.found.kind != Kind::Directory && mode & SET_ID != 0 {
            mode &= !SET_ID;
            self.note("lend a wrong owner's rights by set-ID bits of".into(), Err(Errno::PERM));
        }
        if self.mode_is == mode {
            return;
        }
        let done = self.chmod(mode);
        let set = self.note(format!("set mode {mode:04o} of"), done);
        // The kernel drops set-group-ID without a word where the group is not one of ours.
        if set && mode & 0o7000 != 0 && inspect_fd(&self.fd).is_ok_and(|now| now.mode != mode) {
            self.note(format!("set mode {mode:04o} of"), Err(Errno::PERM));
        }
    }

    /// By `/proc`, since `fchmod` refuses `O_PATH` descriptors.
    fn chmod(&self, mode: u32) -> Result<(), Errno> {
        rustix::fs::chmodat(CWD, &self.path, Mode::from_raw_mode(mode), AtFlags::empty())
    }

    /// Sets mtime, and atime where the node has one.
    fn times(&mut self) {
        let (found, node) = (&self.found, self.node);
        if found.mtime == node.mtime && node.atime.is_none_or(|atime| atime == found.atime) {
            return;
        }
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps {
            last_access: node.atime.map_or(omitted, timespec),
            last_modification: timespec(node.mtime),
        };
        let done = rustix::fs::utimensat(CWD, &self.path, &times, AtFlags::empty());
        let set = self.note("set times of".into(), done);
        // File systems clamp without a word what they cannot hold; common is 1901 to 2038.
        let rare = i32::try_from(node.mtime.secs).is_err();
        if set && rare && inspect_fd(&self.fd).is_ok_and(|now| now.mtime.secs != node.mtime.secs) {
            self.note("keep so distant a time of".into(), Err(Errno::RANGE));
        }
    }

    fn note_xattr(&mut self, verb: &str, name: &[u8], done: Result<(), Errno>) {
        if name.starts_with(b"system.posix_acl_") {
            self.mode_is = MODE_UNKNOWN;
        }
        if done.is_err() {
            let name = String::from_utf8_lossy(name);
            self.note(format!("{verb} extended attribute {} of", name.escape_debug()), done);
        }
    }

    /// Lists a failure as a trouble. Whether there was none.
    fn note(&mut self, action: String, done: Result<(), Errno>) -> bool {
        match done {
            Ok(()) => true,
            Err(errno) => {
                self.troubles.push(LocalError::new(action, self.name, errno));
                false
            }
        }
    }
}

fn timespec(time: Time) -> Timespec {
    Timespec { tv_sec: time.secs, tv_nsec: i64::from(time.nanos) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Body;
    use crate::localfs::testing::{directory, file, is_root, node, owner, xattr};
    use crate::localfs::{inspect, read_xattrs};

    const ROOT: (u32, u32) = (0, 0);
    /// `user::rw-,user:1000:rwx,group::r--,mask::rwx,other::r--`, that is mode 0674.
    const ACL: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 7, 1000), (4, 4, u32::MAX), (16, 7, u32::MAX), (32, 4, u32::MAX)];

    fn acl() -> Vec<u8> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in ACL {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(rights.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    fn target() -> (tempfile::TempDir, TargetDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = TargetDir::open(temp.path()).unwrap();
        (temp, dir)
    }

    fn make(dir: &TargetDir, body: &Body) {
        match body {
            Body::File(_) => drop(dir.create_file(b"name").unwrap()),
            Body::Directory { .. } => drop(dir.make_dir(b"name").unwrap()),
            Body::Symlink { target } => dir.symlink(b"name", target).unwrap(),
            special => dir.mknod(b"name", special).unwrap(),
        }
    }

    /// Applies, and holds the entry against the node; then again, and nothing may change.
    fn check(dir: &TargetDir, node: &Node, (uid, gid): (u32, u32)) {
        let (owner, options) = (owner(uid, gid), ApplyOptions::default());
        for again in [false, true] {
            let before = inspect(dir.dir(), b"name").unwrap();
            let troubles = apply(dir, b"name", node, &owner, options);
            assert!(troubles.is_empty(), "{troubles:?}");
            let found = inspect(dir.dir(), b"name").unwrap();
            let mode = if found.kind == Kind::Symlink { found.mode } else { node.mode };
            assert_eq!((found.mode, found.uid, found.gid), (mode, uid, gid), "{:?}", node.body);
            assert_eq!(found.mtime, node.mtime);
            assert!(node.atime.is_none_or(|atime| atime == found.atime));
            let xattrs = read_xattrs(dir.dir(), b"name").unwrap();
            assert_eq!(xattrs, node.xattrs);
            assert!(!differs(&found, &xattrs, node, &owner, options));
            assert!(!again || found.ctime == before.ctime, "the second time touched something");
        }
    }

    #[test]
    fn every_kind_gets_its_metadata_exactly() {
        if !is_root() {
            return;
        }
        let bodies = [
            file(),
            directory(),
            Body::Symlink { target: b"/etc/passwd".to_vec() },
            Body::Fifo,
            Body::Socket,
            Body::CharDevice { major: 4095, minor: 1_048_575 },
            Body::BlockDevice { major: 7, minor: 9 },
        ];
        let before =
            inspect(&super::super::Dir::open("/etc".as_ref()).unwrap(), b"passwd").unwrap();
        for body in bodies {
            let (_temp, dir) = target();
            make(&dir, &body);
            let mut node = node(0o7751, body);
            node.mtime = Time { secs: -2_000_000_000, nanos: 999_999_999 };
            node.atime = Some(Time { secs: 5_000_000_000, nanos: 1 });
            node.xattrs = vec![xattr("trusted.empty", b""), xattr("trusted.x", b"\0\xff")];
            check(&dir, &node, (4_294_967_294, 4_294_967_294));
        }
        let after = inspect(&super::super::Dir::open("/etc".as_ref()).unwrap(), b"passwd").unwrap();
        assert_eq!((after.ctime, after.mode), (before.ctime, before.mode), "a link was followed");
    }

    #[test]
    fn modes_with_special_bits_survive_a_change_of_owner() {
        if !is_root() {
            return;
        }
        let (_temp, dir) = target();
        make(&dir, &file());
        for mode in [0o4755, 0o2755, 0o6711, 0o1777, 0o7777, 0o2644, 0, 0o444] {
            for owner in [ROOT, (1000, 2000), (1000, 1000)] {
                check(&dir, &node(mode, file()), owner);
            }
        }
    }

    #[test]
    fn acls_and_mode_come_back_together() {
        if !is_root() {
            return;
        }
        let (_temp, dir) = target();
        make(&dir, &directory());
        let mut parent = node(0o2674, directory());
        parent.xattrs = vec![
            xattr("system.posix_acl_access", &acl()),
            xattr("system.posix_acl_default", &acl()),
        ];
        check(&dir, &parent, (1000, 1000));

        // What is made below inherits ACLs, and must end with exactly what its node says.
        let below = dir.open_dir(b"name").unwrap();
        let plain = [node(0o640, file()), node(0o755, directory()), node(0o622, Body::Fifo)];
        for plain in plain {
            below.remove(b"name").unwrap();
            make(&below, &plain.body);
            assert!(!read_xattrs(below.dir(), b"name").unwrap().is_empty(), "nothing inherited");
            check(&below, &plain, ROOT);
        }
        let mut with_acl = node(0o4674, file());
        with_acl.xattrs = vec![xattr("system.posix_acl_access", &acl())];
        below.remove(b"name").unwrap();
        make(&below, &with_acl.body);
        check(&below, &with_acl, (1000, 0));
        check(&below, &node(0o600, file()), ROOT);
    }

    #[test]
    fn capabilities_survive_a_change_of_owner() {
        if !is_root() {
            return;
        }
        let (_temp, dir) = target();
        let mut capable = node(0o4755, file());
        // Revision 2, effective; permitted: CAP_NET_BIND_SERVICE.
        let mut value = vec![1, 0, 0, 2, 0, 4, 0, 0];
        value.resize(20, 0);
        capable.xattrs = vec![xattr("security.capability", &value), xattr("user.x", b"y")];
        make(&dir, &capable.body);
        check(&dir, &capable, (1000, 1000));
        check(&dir, &capable, (1001, 1001));
    }

    #[test]
    fn attributes_are_removed_replaced_and_kept() {
        let (_temp, dir) = target();
        let me = inspect_fd(&dir).unwrap();
        let mut first = node(0o400, file());
        first.xattrs = vec![xattr("user.a", b"1"), xattr("user.b", b"2"), xattr("user.c", b"")];
        make(&dir, &first.body);
        check(&dir, &first, (me.uid, me.gid));
        let mut second = first.clone();
        second.xattrs =
            vec![xattr("user.b", b"other"), xattr("user.c", b""), xattr("user.d", b"4")];
        check(&dir, &second, (me.uid, me.gid));
        let found = dir.look(b"name").unwrap().unwrap();
        let owner = owner(me.uid, me.gid);
        assert!(differs(&found, &first.xattrs, &second, &owner, ApplyOptions::default()));
        let label = [vec![xattr("security.selinux", b"x")], second.xattrs.clone()].concat();
        assert!(!differs(&found, &label, &second, &owner, ApplyOptions::default()));
    }

    #[test]
    fn times_are_exact_or_reported() {
        let (_temp, dir) = target();
        let me = inspect_fd(&dir).unwrap();
        for body in [file(), directory(), Body::Symlink { target: b"x".to_vec() }] {
            dir.remove(b"name").unwrap();
            make(&dir, &body);
            for secs in [-2_147_483_647, -1, 0, 4_294_967_296, 15_000_000_000] {
                let mut node = node(0o755, body.clone());
                node.mtime = Time { secs, nanos: 1 };
                check(&dir, &node, (me.uid, me.gid));
            }
            let mut node = node(0o755, body);
            node.mtime = Time { secs: 1_000_000_000_000, nanos: 0 };
            let owner = owner(me.uid, me.gid);
            let troubles = apply(&dir, b"name", &node, &owner, ApplyOptions::default());
            let exact = dir.look(b"name").unwrap().unwrap().mtime == node.mtime;
            assert_eq!(exact, troubles.is_empty(), "{troubles:?}");
        }
    }

    #[test]
    fn directory_itself_and_opened_files_can_be_applied_to() {
        let (_temp, dir) = target();
        let me = inspect_fd(&dir).unwrap();
        let (owner, options) = (owner(me.uid, me.gid), ApplyOptions::default());
        let opened = dir.create_file(b"name").unwrap();
        let as_file = node(0o440, file());
        assert!(apply_fd(&opened, b"name", &as_file, &owner, options).is_empty());
        let found = opened.found().unwrap();
        assert_eq!((found.mode, found.mtime), (0o440, as_file.mtime));
        let itself = node(0o751, directory());
        assert!(apply(&dir, b"", &itself, &owner, options).is_empty());
        let found = inspect_fd(&dir).unwrap();
        assert_eq!((found.mode, found.mtime), (0o751, itself.mtime));
    }

    #[test]
    fn impossible_owner_and_other_kind_are_troubles() {
        let (_temp, dir) = target();
        make(&dir, &file());
        let options = ApplyOptions::default();
        let troubles = apply(&dir, b"name", &node(0o600, file()), &owner(u32::MAX, 0), options);
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        let troubles = apply(&dir, b"name", &node(0o600, directory()), &owner(0, 0), options);
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        let troubles = apply(&dir, b"none", &node(0o600, file()), &owner(0, 0), options);
        assert!(troubles[0].is_not_found());
    }

    #[test]
    fn owner_names_win_over_numbers_when_asked_for() {
        if !is_root() {
            return;
        }
        let (_temp, dir) = target();
        make(&dir, &file());
        let names = Owners::new();
        let root = Owner { user: "root".into(), group: "no such group".into(), ..owner(77, 88) };
        let by_name = ApplyOptions { owner_names: Some(&names), ..ApplyOptions::default() };
        for (options, expected) in [(ApplyOptions::default(), (77, 88)), (by_name, (0, 88))] {
            assert!(apply(&dir, b"name", &node(0o600, file()), &root, options).is_empty());
            let found = dir.look(b"name").unwrap().unwrap();
            assert_eq!((found.uid, found.gid), expected);
            assert!(!differs(&found, &[], &node(0o600, file()), &root, options));
        }
    }

    #[test]
    fn without_privilege_the_rest_is_done_and_set_id_is_not_lent() {
        if !is_root() {
            return;
        }
        let (temp, _) = target();
        let mine = (Some(Uid::from_raw(12345)), Some(Gid::from_raw(12345)));
        rustix::fs::chown(temp.path(), mine.0, mine.1).unwrap();
        let dir = TargetDir::open(temp.path()).unwrap();
        let mut foreign = node(0o6555, file());
        foreign.xattrs = vec![xattr("trusted.t", b"t"), xattr("user.u", b"u")];
        let work = || {
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(mine.1, mine.1, mine.1).unwrap();
            rustix::thread::set_thread_res_uid(mine.0, mine.0, mine.0).unwrap();
            drop(dir.create_file(b"name").unwrap());
            let options = ApplyOptions::default();
            let first = apply(&dir, b"name", &foreign, &owner(0, 0), options);
            let mut own = node(0o6400, file());
            own.xattrs = vec![xattr("user.other", b"")];
            (first, dir.look(b"name"), apply(&dir, b"name", &own, &owner(12345, 12345), options))
        };
        let (first, found, second) = std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
        let troubles: Vec<_> = first.iter().map(ToString::to_string).collect();
        assert_eq!(troubles.len(), 3, "{troubles:?}");
        assert!(first.iter().all(LocalError::is_permission), "{troubles:?}");
        let found = found.unwrap().unwrap();
        assert_eq!((found.uid, found.mode, found.mtime), (12345, 0o555, foreign.mtime));
        assert!(second.is_empty(), "{second:?}");
        assert_eq!(read_xattrs(dir.dir(), b"name").unwrap(), [xattr("user.other", b"")]);
        assert_eq!(dir.look(b"name").unwrap().unwrap().mode, 0o6400);
    }
}
