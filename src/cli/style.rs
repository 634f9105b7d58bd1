//! Colours of the help, and nothing more.

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Effects};

/// Headings stand out, what is typed is bold, what is filled in is plain.
pub(crate) const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::White.on_default().effects(Effects::BOLD));
