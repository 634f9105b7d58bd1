//! Real input: the Rust toolchain with its documentation and the cargo registry, at least 50,000
//! files, through ingest → mount → `rsync -aHAX --checksum -n` without a difference.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Sandbox, run_ok};

/// Directories that every machine which builds icecore has.
fn real_trees() -> Vec<PathBuf> {
    let sysroot = run_ok("rustc", &["--print", "sysroot"]);
    let cargo = std::env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cargo"),
        PathBuf::from,
    );
    let trees = [PathBuf::from(sysroot.trim()), cargo.join("registry/src")];
    trees.iter().filter_map(|tree| tree.canonicalize().ok()).collect()
}

fn count_files(tree: &Path) -> usize {
    let script = format!("find '{}' -type f | wc -l", tree.display());
    run_ok("bash", &["-c", &script]).trim().parse().expect("a number")
}

#[test]
fn fifty_thousand_real_files_come_back_without_a_difference() {
    let sandbox = Sandbox::new();
    let trees = real_trees();
    let files: usize = trees.iter().map(|tree| count_files(tree)).sum();
    assert!(files >= 50_000, "only {files} files in {trees:?}");
    let repository = sandbox.path().join("repository");
    sandbox.icecore().arg("init").arg(&repository).assert().success();
    let ingest = || {
        let mut command = sandbox.icecore();
        command.arg("-r").arg(&repository).args(["ingest", "--quiet"]).args(&trees);
        command.assert().success();
    };
    ingest();
    let mount = sandbox.mount(&repository, &[] as &[&str]);
    for tree in &trees {
        let shown = mount.latest().join(tree.strip_prefix("/").expect("an absolute path"));
        for (from, to) in [(tree.as_path(), shown.as_path()), (&shown, tree)] {
            let output = Command::new("rsync")
                .args(["-aHAXn", "--checksum", "--delete", "--itemize-changes", "--numeric-ids"])
                .arg("--modify-window=-1")
                .arg(format!("{}/", from.display()))
                .arg(format!("{}/", to.display()))
                .output()
                .expect("rsync runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let differences = String::from_utf8_lossy(&output.stdout);
            assert!(
                differences.is_empty(),
                "{} against {}:\n{differences}",
                from.display(),
                to.display()
            );
        }
    }
    mount.unmount();
}
