//! `icecore diff`: what it tells, and that it costs what differs and not what there is.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use icecore::codec::{BlockEncoder, Compression};
use icecore::format::{
    Body, ChunkClass, ChunkId, Content, File, Leaf, Node, Owner, Snapshot, Time,
};
use icecore::ops::diff;
use icecore::repo::{
    DirectoryRef, DirectoryWriter, InitOptions, OpenOptions, PageWriter, PutPage, Repository,
    Result, Session, Writer, WrittenDirectory,
};
use icecore::storage::LocalStorage;
use serde_json::Value;

mod common;

use common::Sandbox;

/// Stores pages and remembers which.
struct Noted<'s, 'r> {
    pages: PageWriter<'s, 'r>,
    ids: HashSet<ChunkId>,
}

impl PutPage for Noted<'_, '_> {
    fn put_page(&mut self, bytes: &[u8], like: Option<&ChunkId>) -> Result<ChunkId> {
        let id = self.pages.put_page(bytes, like)?;
        self.ids.insert(id);
        Ok(id)
    }

    fn has_page(&mut self, id: &ChunkId) -> bool {
        self.pages.has_page(id)
    }
}

fn node(name: String, body: Body) -> Node {
    let time = Time { secs: 1_700_000_000, nanos: 5 };
    Node {
        name: name.into_bytes(),
        mode: 0o644,
        owner: 0,
        mtime: time,
        ctime: time,
        atime: None,
        btime: None,
        inode: 0,
        link: None,
        unstable: false,
        xattrs: Vec::new(),
        body,
    }
}

fn owner() -> Owner {
    Owner { uid: 0, gid: 0, user: String::new(), group: String::new() }
}

fn file(content: u64) -> Body {
    let content = content.to_le_bytes().to_vec();
    Body::File(File {
        size: 8,
        data: 8,
        hash: None,
        class: ChunkClass::Default,
        content: Content::Inline(content),
    })
}

/// A directory of the tree; `changed` is the number of its file that is not what it was.
fn folder(
    number: u64,
    files: u64,
    changed: Option<u64>,
    pages: &mut Noted<'_, '_>,
) -> WrittenDirectory {
    let (mut writer, owner) = (DirectoryWriter::default(), owner());
    for n in 0..files {
        let content = if changed == Some(n) { u64::MAX } else { number * files + n };
        writer.push(node(format!("{n:06}.dat"), file(content)), &owner, pages).unwrap();
    }
    writer.finish(pages).unwrap()
}

fn root(written: &[WrittenDirectory], pages: &mut Noted<'_, '_>) -> WrittenDirectory {
    let (mut writer, owner) = (DirectoryWriter::default(), owner());
    for (n, written) in written.iter().enumerate() {
        writer.push(node(format!("{n:06}"), (*written).into()), &owner, pages).unwrap();
    }
    writer.finish(pages).unwrap()
}

fn commit(session: Session<'_>, written: WrittenDirectory, secs: i64) -> Snapshot {
    let root = node(String::new(), written.into());
    let describe = |id, added| Snapshot {
        id,
        time: Time { secs, nanos: 0 },
        duration_ns: 0,
        host: "host".into(),
        user: "user".into(),
        program: "test".into(),
        tags: Vec::new(),
        sources: Vec::new(),
        parent: None,
        root: Leaf { owners: vec![owner()], nodes: vec![root] },
        troubles: Vec::new(),
        troubles_count: 0,
        added,
        origin: None,
        captures: Vec::new(),
    };
    session.commit(describe).unwrap()
}

fn begin(repo: &Repository) -> (Session<'_>, BlockEncoder) {
    let writer = Writer { host: "host".into(), pid: 1 };
    let session = Session::begin(repo, writer, Time { secs: 1, nanos: 0 }).unwrap();
    (session, BlockEncoder::new(Compression::Fast).unwrap())
}

/// A tree of a million files, or with ICECORE_DIFF_FILES of as many as that says, of which 100 in as
/// many directories change. ICECORE_DIFF_KEEP names a folder that keeps the repository.
#[test]
fn exactly_the_pages_that_differ_are_read() {
    let files: u64 = std::env::var("ICECORE_DIFF_FILES").map_or(1_000_000, |n| n.parse().unwrap());
    let sandbox = Sandbox::new();
    let keep = std::env::var_os("ICECORE_DIFF_KEEP").map(Into::into);
    let path = keep.unwrap_or_else(|| sandbox.path().join("large"));
    fs::create_dir(&path).unwrap();
    let storage = Arc::new(LocalStorage::open(&path).unwrap());
    Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    let repo = Repository::open(storage.clone(), None, &OpenOptions::default()).unwrap();
    let folders = (files / 1000).max(100);
    let each = files / folders;

    let (session, encoder) = begin(&repo);
    let pages = PageWriter::new(&session, encoder, false);
    let mut noted = Noted { pages, ids: HashSet::new() };
    let mut of_changed = HashSet::new();
    let changes = |n: u64| n.is_multiple_of(folders / 100) && n / (folders / 100) < 100;
    let mut written = Vec::new();
    for n in 0..folders {
        written.push(folder(n, each, None, &mut noted));
        let ids = std::mem::take(&mut noted.ids);
        if changes(n) {
            of_changed.extend(ids);
        }
    }
    let top = root(&written, &mut noted);
    of_changed.extend(std::mem::take(&mut noted.ids));
    noted.pages.flush().unwrap();
    drop(noted);
    let old = commit(session, top, 1_795_349_045);

    let (session, encoder) = begin(&repo);
    let mut noted = Noted { pages: PageWriter::new(&session, encoder, false), ids: HashSet::new() };
    for n in (0..folders).filter(|n| changes(*n)) {
        written[n as usize] = folder(n, each, Some(n % each), &mut noted);
    }
    let top = root(&written, &mut noted);
    noted.pages.flush().unwrap();
    let of_new = noted.ids;
    drop(noted.pages);
    let new = commit(session, top, 1_795_349_046);
    drop(repo);

    let repo = Repository::open(storage, None, &OpenOptions::default()).unwrap();
    let before = repo.read_counts();
    let pair = diff::pair(&repo, &old, &new, b"/").unwrap();
    let told = diff::changes(&repo, &pair).map(Result::unwrap).count();
    assert_eq!(told, 100);
    let differ = of_changed.symmetric_difference(&of_new).count() as u64;
    let after = repo.read_counts();
    assert_eq!(after.chunks - before.chunks, differ, "pages that were looked up");
    assert!(after.reads - before.reads <= differ, "storage reads");
    let sums = diff::sums(&repo, &pair, &AtomicBool::new(false)).unwrap();
    assert_eq!((sums.changed_to.files, sums.changed_from.size), (100, 800));
    assert_eq!(DirectoryRef::of(&new.root_node().body).unwrap().entries, folders);
}

/// Two snapshots of a tree of which something of everything changed.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::plain();
    icecore(&sandbox).args(["-q", "init", "--plain"]).assert().success();
    let tree = sandbox.folder("tree");
    for (name, text) in [("same", "1"), ("gone", "22"), ("edited", "333"), ("mode", "4444")] {
        fs::write(tree.join(name), text).unwrap();
    }
    fs::create_dir(tree.join("old dir")).unwrap();
    fs::write(tree.join("old dir/in"), "x").unwrap();
    fs::write(tree.join("turns"), "file").unwrap();
    ingest(&sandbox);
    fs::remove_file(tree.join("gone")).unwrap();
    fs::write(tree.join("edited"), "another length").unwrap();
    fs::set_permissions(tree.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_dir_all(tree.join("old dir")).unwrap();
    fs::remove_file(tree.join("turns")).unwrap();
    std::os::unix::fs::symlink("same", tree.join("turns")).unwrap();
    fs::create_dir(tree.join("new")).unwrap();
    fs::write(tree.join("new/a\nb"), "yy").unwrap();
    ingest(&sandbox);
    sandbox
}

fn icecore(sandbox: &Sandbox) -> assert_cmd::Command {
    let mut command = sandbox.icecore();
    command.env("ICECORE_REPOSITORY", sandbox.path().join("repo"));
    command
}

fn ingest(sandbox: &Sandbox) {
    let tree = sandbox.path().join("tree");
    icecore(sandbox).args(["-q", "ingest", "-C"]).arg(tree).arg(".").assert().success();
}

fn diff_of(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = icecore(sandbox).args(["diff", "latest~1", "latest"]).args(arguments).output();
    let output = output.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_change_has_its_letter_attributes_and_path() {
    let sandbox = sandbox();
    let told = diff_of(&sandbox, &[]);
    let lines: Vec<_> = told.split_terminator('\n').collect();
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<_> = lines.into_iter().map(words).collect();
    let expected = [
        "M content,mtime /edited",
        "D - /gone",
        "P mode /mode",
        "A - /new",
        "A - /new/a",
        "b",
        "D - /old dir",
        "D - /old dir/in",
        "T type /turns",
    ];
    assert_eq!(lines, expected);
    assert_eq!(diff_of(&sandbox, &["/new", "--name-only", "-0"]), "/new\0/new/a\nb\0");
    assert_eq!(diff_of(&sandbox, &["old dir/", "--name-only"]), "/old dir\n/old dir/in\n");
    assert_eq!(diff_of(&sandbox, &["/same"]), "");
}

#[test]
fn json_has_both_versions_and_sums_add_up() {
    let sandbox = sandbox();
    let lines = diff_of(&sandbox, &["--json"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_path = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap();
    assert_eq!(by_path("/mode")["change"], "metadata");
    assert_eq!(by_path("/mode")["mode"], "0600");
    assert_eq!(by_path("/mode")["old"]["mode"], "0644");
    assert_eq!(by_path("/edited")["attributes"], serde_json::json!(["content", "mtime"]));
    assert_eq!(by_path("/turns")["change"], "type");
    assert_eq!(by_path("/gone")["change"], "removed");
    assert!(lines.iter().all(|line| line["schema"] == 1));
    let sums: Value = serde_json::from_str(&diff_of(&sandbox, &["--stat", "--json"])).unwrap();
    let count = |sum: &str| (sums[sum]["files"].as_u64(), sums[sum]["size"].as_u64());
    assert_eq!(count("added"), (Some(1), Some(2)));
    assert_eq!(count("removed"), (Some(3), Some(2 + 1 + 4)));
    assert_eq!(sums["added"]["others"], 1);
    assert_eq!((count("changed_from").1, count("changed_to").1), (Some(3), Some(14)));
    assert_eq!(count("metadata").0, Some(1));
    let text = diff_of(&sandbox, &["--stat"]);
    assert!(text.contains("added") && text.contains("14 B that were 3 B"), "{text}");
}

#[test]
fn a_path_that_neither_has_and_a_snapshot_that_is_not_there_are_errors() {
    let sandbox = sandbox();
    let fails = |arguments: &[&str], what: &str| {
        let output = icecore(&sandbox).arg("diff").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(what), "{said}");
    };
    fails(&["latest~1", "latest", "/nothing"], "/nothing");
    fails(&["latest~1", "latest", "/new/../x"], "..");
    fails(&["latest~9", "latest"], "latest~9");
}
