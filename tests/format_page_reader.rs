//! A second reader, whose author saw icecore-format(5), three sample repositories and nothing else,
//! gets a tree back with every attribute and byte, through the index and from the packs alone.
//!
//! Guards against a page that needs the source to be understood.

mod common;
mod format_versions;

use std::path::Path;
use std::process::Command;

use common::torture::{self, TortureOptions, random_bytes};
use common::{PASSPHRASE, Sandbox};

/// The interpreter of the readers' environment; fails where it cannot be made.
fn python() -> String {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader/setup");
    let output = Command::new(setup).output().expect("tests/reader/setup runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the reader cannot be installed: {words}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn who_knows_only_the_page_reads_every_kind_of_repository() {
    common::require_root();
    let sandbox = Sandbox::plain();
    let source = sandbox.folder("source");
    for section in ["kinds", "modes", "owners", "times", "xattrs", "acls", "hard-links", "names"] {
        let options = TortureOptions { only: Some(section), ..TortureOptions::small() };
        assert_eq!(torture::build(&source, &options), [] as [String; 0]);
    }
    std::fs::write(source.join("large"), random_bytes(1, 20 << 20)).unwrap();
    let hole = std::fs::File::create(source.join("hole")).unwrap();
    hole.set_len(1 << 30).unwrap();
    let (passphrase, key) = (sandbox.path().join("passphrase"), sandbox.path().join("key"));
    std::fs::write(&passphrase, PASSPHRASE).unwrap();
    std::fs::write(&key, random_bytes(2, 32)).unwrap();
    let python = python();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader/page_reader.py");
    let secrets =
        [("--plain", None), ("--passphrase-file", Some(&passphrase)), ("--key-file", Some(&key))];
    for (flag, file) in secrets {
        let repository = sandbox.path().join(format!("repository{flag}"));
        let secret: Vec<_> =
            file.iter().flat_map(|file| [flag.as_ref(), file.as_os_str()]).collect();
        let init = if file.is_none() { vec!["--plain"] } else { Vec::new() };
        sandbox.icecore().arg("init").args(init).args(&secret).arg(&repository).assert().success();
        for version in 0..2 {
            format_versions::write(&source, version);
            let mut ingest = sandbox.icecore();
            ingest.arg("-r").arg(&repository).args(&secret).args(["ingest", "-q", "-C"]);
            ingest.arg(&source).arg(".").assert().success();
        }
        for mode in [None, Some("--packs-only")] {
            let output = Command::new(&python)
                .arg("-B")
                .arg(&script)
                .args(&secret)
                .args(mode)
                .arg(&repository)
                .args(["compare", "latest"])
                .arg(&source)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let failed = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{flag} {mode:?}: {said}{failed}");
        }
    }
}
