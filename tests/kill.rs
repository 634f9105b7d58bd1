//! `kill -9` at any moment of a real ingest: the repository stays good, earlier snapshots stay
//! readable, and the next ingest succeeds and uses what the killed one finished.
//!
//! The moments are chosen by what the repository's folder shows (so many objects written), not by
//! the clock.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Sandbox;
use common::torture::{random_bytes, text_bytes};

fn build_source(source: &Path, generation: u64) {
    // Several packs' worth of content that does not compress.
    for n in 0..24 {
        fs::write(source.join(format!("big-{n}")), random_bytes(generation * 100 + n, 8 << 20))
            .unwrap();
    }
    for n in 0..500 {
        fs::write(source.join(format!("small-{n}")), text_bytes(generation * 1000 + n, 3000))
            .unwrap();
    }
}

fn objects(repository: &Path) -> usize {
    let mut count = 0;
    let mut folders = vec![repository.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => count += 1,
            }
        }
    }
    count
}

struct Killed {
    sandbox: Sandbox,
    source: PathBuf,
    repository: PathBuf,
}

impl Killed {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let source = sandbox.folder("source");
        fs::write(source.join("first"), text_bytes(1, 100_000)).unwrap();
        let repository = sandbox.path().join("repository");
        sandbox.icecore().arg("init").arg(&repository).assert().success();
        let killed = Self { sandbox, source, repository };
        killed.ingest().assert().success();
        killed
    }

    fn ingest(&self) -> assert_cmd::Command {
        let mut command = self.sandbox.icecore();
        command.arg("-r").arg(&self.repository).args(["ingest", "--quiet", "--json", "-C"]);
        command.arg(&self.source).arg(".");
        command
    }

    /// Starts an ingest and kills it once `more` objects were added; whether it was still running.
    fn ingest_and_kill(&self, more: usize) -> bool {
        let before = objects(&self.repository);
        let mut command = self.sandbox.icecore_std();
        command.arg("-r").arg(&self.repository).args(["ingest", "--quiet", "-C"]);
        let mut child = command.arg(&self.source).arg(".").spawn().unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if objects(&self.repository) >= before + more {
                break None;
            }
            std::thread::yield_now();
        };
        let _ = child.kill();
        child.wait().unwrap();
        ended.is_none()
    }

    fn check(&self) {
        let mut verify = self.sandbox.icecore();
        verify.arg("-r").arg(&self.repository).args(["verify", "--read-data", "--quiet"]);
        verify.assert().success();
        let mut list = self.sandbox.icecore();
        list.arg("-r").arg(&self.repository).args(["cat", "latest:/first"]);
        let output = list.assert().success().get_output().stdout.clone();
        assert_eq!(output, text_bytes(1, 100_000));
    }
}

#[test]
fn an_ingest_killed_anywhere_harms_nothing_and_serves_the_next() {
    let killed = Killed::new();
    build_source(&killed.source, 1);
    let mut hits = 0;
    // The beat, the first temporary files, packs, segments, late packs.
    for more in [1, 2, 3, 4, 5, 6, 7, 8] {
        hits += usize::from(killed.ingest_and_kill(more));
        killed.check();
    }
    assert!(hits >= 4, "only {hits} of 8 ingests were still running when they were killed");
    let output = killed.ingest().assert().success().get_output().stdout.clone();
    let report: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert_eq!(report["schema"], 1);
    killed.check();
}
