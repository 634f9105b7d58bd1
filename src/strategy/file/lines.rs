//! Where a key stands in the file's text, for who is told that something is wrong with it.

use toml::de::{DeTable, DeValue};

/// The line of a key like `drills.d.checks[0].sql`, from 1; of what is not there, that of the
/// innermost table around it. `None` where not even that is there, or names hold dots.
#[must_use]
pub fn line_of(text: &str, at: &str) -> Option<usize> {
    let whole = DeTable::parse(text).ok()?;
    let mut table = Some(whole.get_ref());
    let mut found = None;
    for name in at.split('.') {
        let (name, number) = match name.split_once('[') {
            Some((name, number)) => (name, number.strip_suffix(']')?.parse::<usize>().ok()),
            None => (name, None),
        };
        let Some((key, mut value)) = table.and_then(|table| table.get_key_value(name)) else {
            break;
        };
        found = Some(key.span().start);
        if let (DeValue::Array(list), Some(number)) = (value.get_ref(), number) {
            value = list.get(number)?;
            found = Some(value.span().start);
        }
        table = match value.get_ref() {
            DeValue::Table(inner) => Some(inner),
            _ => None,
        };
    }
    Some(line_at(text, found?))
}

/// The line of a byte, from 1.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    text.get(..byte).unwrap_or_default().matches('\n').count() + 1
}

/// The name of the table whose header is at a byte, like `repositories.near`.
pub(super) fn header_at(text: &str, byte: usize) -> Option<&str> {
    let line = text.get(byte..)?.lines().next()?.trim();
    let name = line.strip_prefix('[')?.split(']').next()?;
    Some(name.trim_start_matches('[').trim()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_what_is_missing_by_its_table() {
        let text = "# x\n[repositories.n]\nurl = \"/x\"\n\n[drills.d]\nmode = \"copy\"\n\
                    [[drills.d.checks]]\nmanifest = \"a\"\n[[drills.d.checks]]\nhttp = \"b\"\n\
                    sql = { query = \"c\" }\n";
        for (at, line) in [
            ("repositories.n", Some(2)),
            ("repositories.n.url", Some(3)),
            ("repositories.n.media", Some(2)),
            ("drills.d.mode", Some(6)),
            ("drills.d.checks[1]", Some(9)),
            ("drills.d.checks[1].http", Some(10)),
            ("drills.d.checks[1].sql.query", Some(11)),
            ("drills.d.checks[7]", None),
            ("nothing", None),
        ] {
            assert_eq!(line_of(text, at), line, "{at}");
        }
        assert_eq!(line_of("[", "a"), None);
        assert_eq!(header_at(text, 4), Some("repositories.n"));
        assert_eq!(header_at("x = 1", 0), None);
    }
}
