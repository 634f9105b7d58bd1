use super::*;

fn next(expression: &str, after: &str) -> String {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let after: Timestamp = after.parse().unwrap();
    match Calendar::parse(expression).unwrap().next_after(after, &berlin) {
        Some(at) => at.to_string(),
        None => "never".into(),
    }
}

#[test]
fn expressions_of_the_manual_page() {
    // 2026-11-22 is a Sunday; Berlin is an hour ahead of UTC in winter.
    let now = "2026-11-22T12:00:00Z";
    for (expression, expected) in [
        ("daily", "2026-11-22T23:00:00Z"),
        ("hourly", "2026-11-22T13:00:00Z"),
        ("weekly", "2026-11-22T23:00:00Z"),
        ("monthly", "2026-11-30T23:00:00Z"),
        ("quarterly", "2026-12-31T23:00:00Z"),
        ("yearly UTC", "2027-01-01T00:00:00Z"),
        ("Mon..Fri 02:00", "2026-11-23T01:00:00Z"),
        ("Sat,Sun 13:00:30", "2026-11-22T12:00:30Z"),
        ("mon,tue..wed,Friday 12:59", "2026-11-23T11:59:00Z"),
        ("*-*-01 04:30 UTC", "2026-12-01T04:30:00Z"),
        ("*-02~03 00:00 UTC", "2027-02-26T00:00:00Z"),
        ("Mon *-05~07/1 UTC", "2027-05-31T00:00:00Z"),
        ("*:0/15", "2026-11-22T12:15:00Z"),
        ("8..18/2:30 UTC", "2026-11-22T12:30:00Z"),
        ("02-29 00:00 UTC", "2028-02-29T00:00:00Z"),
        ("2025-01-01", "never"),
        ("26-12-24 18:00 Europe/Berlin", "2026-12-24T17:00:00Z"),
    ] {
        assert_eq!(next(expression, now), expected, "{expression}");
    }
}

#[test]
fn changes_of_clocks_leave_out_and_repeat_nothing() {
    // 02:30 does not exist on 2027-03-28 in Berlin, and comes twice on 2026-10-25.
    assert_eq!(next("02:30", "2027-03-27T12:00:00Z"), "2027-03-28T01:30:00Z");
    assert_eq!(next("02:30", "2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
    assert_eq!(next("02:30", "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
}

#[test]
fn what_is_not_understood_is_named() {
    for (expression, part) in [
        ("", "empty"),
        ("soon", "\"soon\" is no weekday"),
        ("Fri..Mon 10:00", "end before they begin"),
        ("Mon 25:00", "\"25\" is no hour"),
        ("*-13-01", "\"13\" is no month"),
        ("10:00 Mars/Olympus", "no time zone"),
        ("10:00:00.5", "fractions"),
        ("*:0/0", "repeats by nothing"),
        ("20..10:00", "end before they begin"),
        ("1-2-3-4", "no date"),
        ("10:00 11:00", "\"11:00\" is not understood"),
        ("+5:00", "\"+5\" is no hour"),
    ] {
        let err = Calendar::parse(expression).unwrap_err();
        assert!(err.contains(part), "{expression}: {err}");
    }
}

/// The program that the words come from agrees, where it is installed.
#[test]
fn systemd_says_the_same() {
    use std::process::Command;
    let ask = |expression: &str, base: &str| {
        let out = Command::new("systemd-analyze")
            .args(["calendar", "--base-time", base, expression])
            .env("TZ", "Europe/Berlin")
            .output()
            .ok()?;
        assert!(out.status.success(), "{expression}: {}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        let line = |key: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        Some(line("(in UTC)").or_else(|| line("Next elapse")).unwrap())
    };
    let base = "2026-11-22 12:00:00 UTC";
    for expression in [
        "daily",
        "weekly",
        "Mon..Fri 02:00",
        "Sat,Sun 13:00:30",
        "mon,tue..wed,Friday 12:59",
        "*:0/15",
        "*-*-01 04:30 UTC",
        "*-02~03 00:00 UTC",
        "Mon *-05~07/1 UTC",
        "8..18/2:30 UTC",
        "02-29 UTC",
        "2025-01-01",
        "*-*~10/3 UTC",
        "*-*~1 UTC",
        "Sun *-*-1..7 UTC",
        "26-12-24 18:00 Europe/Berlin",
        "*-*-* 0/6:10",
        "*-1/3-1 UTC",
    ] {
        let Some(theirs) = ask(expression, base) else { return };
        let ours = next(expression, "2026-11-22T12:00:00Z");
        let ours = ours.replace('T', " ").replace('Z', " UTC");
        assert!(theirs.ends_with(&ours), "{expression}: ours {ours}, systemd's {theirs}");
    }
}
