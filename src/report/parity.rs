//! What of a repository parity protects.

use serde_json::Value;

use super::text;
use crate::ops::parity::ParityReport;
use crate::units;

/// As JSON.
#[must_use]
pub fn json(report: &ParityReport, dry_run: bool) -> Value {
    let mut fields = serde_json::to_value(report).unwrap_or_default();
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("dry_run".into(), dry_run.into());
    }
    fields
}

/// A share of thousandths as people write it: `5%`.
#[must_use]
pub fn share(permille: u16) -> String {
    match (permille / 10, permille % 10) {
        (whole, 0) => format!("{whole}%"),
        (whole, tenth) => format!("{whole}.{tenth}%"),
    }
}

/// In words.
#[must_use]
pub fn text(report: &ParityReport) -> String {
    let number = text::number;
    let set = match report.permille {
        0 => "off: new packs get none".into(),
        permille => format!("{} for each new pack", share(permille)),
    };
    let built = match report.built {
        0 => String::new(),
        built => format!("{}, {}", number(built), units::size(report.built_bytes)),
    };
    let to_build = match report.to_build {
        0 => String::new(),
        packs => text::count(packs, "pack"),
    };
    let not_built = match report.failed.len() as u64 {
        0 => String::new(),
        failed => number(failed),
    };
    let packs = format!(
        "{} of {}, {} for {}",
        number(report.protected),
        number(report.packs),
        units::size(report.parity_bytes),
        units::size(report.pack_bytes)
    );
    text::facts(&[
        ("settings damaged", report.settings_damaged.join("; ")),
        ("parity", set),
        ("protected packs", packs),
        ("to build", to_build),
        ("built", built),
        ("not built", not_built),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_as_they_are_written() {
        assert_eq!([50, 5, 125, 1000].map(share), ["5%", "0.5%", "12.5%", "100%"]);
    }
}
