//! What an ingest may take of the machine: memory, processor, disk, line.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use common::Sandbox;

/// Bytes that do not compress and occur once.
fn noise(path: &Path, len: u64) {
    let mut reader =
        blake3::Hasher::new().update(path.as_os_str().as_encoded_bytes()).finalize_xof();
    let mut file = File::create(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..len >> 20 {
        reader.fill(&mut buffer);
        file.write_all(&buffer).unwrap();
    }
}

fn prepared() -> Sandbox {
    let sandbox = Sandbox::plain();
    sandbox.icecore().args(["init", "--plain", "repository"]).assert().success();
    sandbox
}

#[test]
fn memory_stays_below_what_was_allowed() {
    let sandbox = prepared();
    let source = sandbox.folder("source");
    for n in 0..3 {
        noise(&source.join(format!("file-{n}")), 160 << 20);
    }
    // A slow storage fills every queue and the packs.
    let mut command = sandbox.icecore_std();
    command.args(["-r", "repository", "ingest", "-q", "--threads", "8", "--max-memory", "240M"]);
    command.args(["--limit-upload", "200M"]).arg(&source);
    let peak = common::peak_memory(&mut command);
    assert!(peak <= 240 << 20, "{} MiB", peak >> 20);
    sandbox.icecore().args(["-r", "repository", "verify", "--read-data"]).assert().success();
}

#[test]
fn long_chunks_get_the_memory_that_they_need_or_are_refused() {
    let sandbox = Sandbox::plain();
    let init = ["init", "--plain", "--chunk-size", "4M", "repository"];
    sandbox.icecore().args(init).assert().success();
    let source = sandbox.folder("source");
    for n in 0..4 {
        noise(&source.join(format!("file-{n}")), 40 << 20);
    }
    let ingest = |memory: &str| {
        let mut command = sandbox.icecore_std();
        command.args(["-r", "repository", "ingest", "-q", "--compression", "max"]);
        command.args(["--max-memory", memory]).arg(&source);
        command
    };
    let refused = ingest("240M").output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("chunks of up to 16384 KiB needs --max-memory"), "{said}");
    let peak = common::peak_memory(&mut ingest("900M"));
    assert!(peak <= 900 << 20, "{} MiB", peak >> 20);
    // A second version, whose chunks are told from those of the first.
    for n in 0..4 {
        let file = File::options().write(true).open(source.join(format!("file-{n}"))).unwrap();
        for place in 0..100 {
            std::os::unix::fs::FileExt::write_all_at(&file, b"changed", place * 400_000).unwrap();
        }
    }
    let peak = common::peak_memory(&mut ingest("900M"));
    assert!(peak <= 900 << 20, "{} MiB", peak >> 20);
}

#[test]
fn too_little_memory_is_refused_before_anything_is_written() {
    let sandbox = prepared();
    let source = sandbox.folder("source");
    fs::write(source.join("file"), "x").unwrap();
    let mut command = sandbox.icecore();
    let output = command.args(["-r", "repository", "ingest", "--max-memory", "64M"]).arg(&source);
    let output = output.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("needs 240M or more"), "{said}");
    assert!(
        !sandbox.path().join("repository/sessions").exists()
            || fs::read_dir(sandbox.path().join("repository/sessions")).unwrap().next().is_none()
    );
}

#[test]
fn priority_reaches_every_process_that_it_starts() {
    let sandbox = prepared();
    let mut command = sandbox.icecore();
    command.args(["-r", "repository", "ingest", "-q", "--nice", "7", "--io-idle"]);
    command.args(["--command", "said", "--", "sh", "-c", "nice; ionice"]).assert().success();
    // Whoever runs the tests may be nicer already.
    let own = std::process::Command::new("nice").output().unwrap().stdout;
    let own: i32 = String::from_utf8(own).unwrap().trim().parse().unwrap();
    let said = format!("{}\nidle\n", own.max(7));
    let mut cat = sandbox.icecore();
    cat.args(["-r", "repository", "cat", "latest:/said"]).assert().success().stdout(said);
}

#[test]
fn upload_is_slowed_down_and_a_limit_of_nothing_refused() {
    let sandbox = prepared();
    let source = sandbox.folder("source");
    noise(&source.join("file"), 4 << 20);
    let ingest = |limit: &str| {
        let mut command = sandbox.icecore();
        command.args(["-r", "repository", "ingest", "-q", "--limit-upload", limit]).arg(&source);
        command
    };
    ingest("0").assert().code(2);
    let started = Instant::now();
    ingest("4M").assert().success();
    assert!(started.elapsed() >= Duration::from_millis(1000), "{:?}", started.elapsed());
}
