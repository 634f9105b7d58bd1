//! The `icecore` command.

fn main() {}
