//! Values of options that make no sense: the error names the option and what is allowed, whatever the
//! value begins with.

mod common;

use common::Sandbox;

/// The first line that a usage error says.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let sandbox = Sandbox::plain();
    let output = sandbox.icecore().args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(!said.contains("tip:"), "{arguments:?}: {said}");
    said.lines().next().unwrap_or_default().to_owned()
}

#[track_caller]
fn check(arguments: &[&str], option: &str, why: &str) {
    let said = refused(arguments);
    assert!(said.contains(option) && said.ends_with(why), "{arguments:?}: {said}");
}

#[test]
fn negative_values_are_named_as_such() {
    let size = "\"-5\" is negative, and no size";
    for option in ["--max-memory", "--exclude-larger-than", "--limit-upload", "--limit-download"] {
        check(&["-r", "r", "ingest", option, "-5", "src"], option, size);
    }
    check(&["init", "--chunk-size", "-5", "r"], "--chunk-size", size);
    check(&["-r", "r", "ingest", "--threads", "-1", "s"], "--threads", "-1 is not in 1..=256");
    check(&["-r", "r", "ingest", "--nice", "-1", "s"], "--nice", "-1 is not in 0..=19");
    check(&["-r", "r", "verify", "--threads", "-1"], "--threads", "-1 is not in 1..=256");
    check(&["-r", "r", "mount", "--threads", "-1", "m"], "--threads", "-1 is not in 1..=64");
    let restore = ["-r", "r", "restore", "latest", "--to", "d", "--threads", "-1"];
    check(&restore, "--threads", "-1 is not in 1..=256");
}

#[test]
fn sizes_beyond_sense_are_refused_with_the_limit() {
    let memory = "an ingest has no use for more than 1.0 TiB";
    check(&["-r", "r", "ingest", "--max-memory", "15E", "s"], "--max-memory", memory);
    let rate = "leave the limit out: it may be at most 1.0 TiB";
    for option in ["--limit-upload", "--limit-download"] {
        check(&["-r", "r", "ls", option, "2T"], option, rate);
        check(&["-r", "r", "ls", option, "0"], option, "a limit of 0 would never end");
    }
    let file = "no file is larger than 8.0 EiB";
    check(
        &["-r", "r", "ingest", "--exclude-larger-than", "15E", "s"],
        "--exclude-larger-than",
        file,
    );
    check(&["init", "--chunk-size", "15E", "r"], "--chunk-size", "4.0 KiB to 4.0 MiB");
    let whole = "\"99999999999E\" is more than 64 bits can count";
    check(&["-r", "r", "ingest", "--max-memory", "99999999999E", "s"], "--max-memory", whole);
}
