//! Words for people: escaped names, counts, modes, tables.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::format::Body;
use crate::ops::path;

/// A name or path that is safe on a terminal, and without loss: as [`path::escaped`], and marks
/// that reorder text are escaped too.
#[must_use]
pub fn escaped(bytes: &[u8]) -> Cow<'_, str> {
    let plain = |c: char| !c.is_control() && c != '\\' && !is_bidi(c);
    if let Ok(text) = std::str::from_utf8(bytes)
        && text.chars().all(plain)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for c in path::escaped(bytes).chars() {
        if is_bidi(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string does not fail.
                let _ = write!(out, "\\x{byte:02x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Marks that reorder the text around them.
const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A number with its thousands set apart: `1,234,567`.
#[must_use]
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// So many of something: `1 file`, `2,000 files`. Words that end in `y` change as English does.
#[must_use]
pub fn count(amount: u64, what: &str) -> String {
    // Not "day", whose y follows a vowel.
    let stem = what.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match (amount, stem) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{} {stem}ies", number(amount)),
        (_, None) => format!("{} {what}s", number(amount)),
    }
}

/// A length of time: `0.35 s`, `12.0 s`, `4 min 05 s`, `3 h 20 min`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{:.2} s", duration.as_secs_f64()),
        10..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", secs / 60, secs % 60),
        _ => format!("{} h {:02} min", secs / 3600, secs / 60 % 60),
    }
}

/// How many times smaller: `3.2 times`; empty where there is nothing to compare.
#[must_use]
pub fn ratio(logical: u64, stored: u64) -> String {
    if logical == 0 || stored == 0 {
        return String::new();
    }
    format!("{:.1} times", logical as f64 / stored as f64)
}

/// One word for what a node is.
#[must_use]
pub const fn kind(body: &Body) -> &'static str {
    match body {
        Body::File(_) => "file",
        Body::Directory { .. } => "directory",
        Body::Symlink { .. } => "symlink",
        Body::Fifo => "fifo",
        Body::Socket => "socket",
        Body::CharDevice { .. } => "char-device",
        Body::BlockDevice { .. } => "block-device",
    }
}

/// Kind and permissions as ls(1) shows them: `drwxr-sr-t`.
#[must_use]
pub fn mode(body: &Body, mode: u32) -> String {
    let kind = match body {
        Body::File(_) => '-',
        Body::Directory { .. } => 'd',
        Body::Symlink { .. } => 'l',
        Body::Fifo => 'p',
        Body::Socket => 's',
        Body::CharDevice { .. } => 'c',
        Body::BlockDevice { .. } => 'b',
    };
    let mut out = String::from(kind);
    for (shift, special, marks) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
        let bits = mode >> shift;
        out.push(if bits & 4 == 0 { '-' } else { 'r' });
        out.push(if bits & 2 == 0 { '-' } else { 'w' });
        let (executable, not) = marks.split_at(1);
        out.push_str(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => "-",
            (false, true) => "x",
            (true, true) => executable,
            (true, false) => not,
        });
    }
    out
}

/// A table without borders; `right` tells which columns hold numbers.
#[must_use]
pub fn table(header: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !header.is_empty() {
        table.set_header(header);
    }
    table.add_rows(rows);
    let last = table.column_count().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at == last { 0 } else { 2 }));
        if right.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = String::new();
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Lines of `name  value`, the values in one column. An empty value leaves its line out.
#[must_use]
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "{name:width$}  {value}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_repaint_a_terminal() {
        for (bytes, shown) in [
            (b"plain \xc3\xa9".as_slice(), "plain é"),
            (b"a\x1b[2Jb", "a\\x1b[2Jb"),
            (b"line\nbreak", "line\\x0abreak"),
            (b"back\\slash", "back\\\\slash"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"\xc2\x9b0m", "\\xc2\\x9b0m"),
            ("gpj.\u{202e}exe".as_bytes(), "gpj.\\xe2\\x80\\xaeexe"),
        ] {
            assert_eq!(escaped(bytes), shown);
        }
    }

    #[test]
    fn amounts_read_as_english() {
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(0, "directory"), "0 directories");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(123), "123");
        assert_eq!(duration(Duration::from_millis(350)), "0.35 s");
        assert_eq!(duration(Duration::from_secs(245)), "4 min 05 s");
        assert_eq!(duration(Duration::from_secs(12_000)), "3 h 20 min");
        assert_eq!(ratio(0, 9), "");
        assert_eq!(ratio(32, 10), "3.2 times");
    }

    #[test]
    fn modes_read_as_ls_shows_them() {
        let directory = Body::Directory { page: None, entries: 0, totals: Default::default() };
        for (body, bits, shown) in [
            (&directory, 0o3755, "drwxr-sr-t"),
            (&Body::Fifo, 0o644, "prw-r--r--"),
            (&Body::Socket, 0o7000, "s--S--S--T"),
            (&Body::Socket, 0o4711, "srws--x--x"),
        ] {
            assert_eq!(mode(body, bits), shown);
        }
    }

    #[test]
    fn tables_have_no_trailing_blanks() {
        let rows = vec![vec!["a".into(), "1".into()], vec!["bbb".into(), String::new()]];
        assert_eq!(table(&["name", "size"], &[1], rows), "name  size\na        1\nbbb\n");
        let facts = facts(&[("one", "1".into()), ("none", String::new()), ("three", "3".into())]);
        assert_eq!(facts, "one    1\nthree  3\n");
    }
}
