//! How much memory a mount takes for decoded blocks, unless it is told.

use std::fs;
use std::path::Path;

use crate::units;

/// Below this every block is decoded again for every reader of it.
const MIN: u64 = 4 << 20;
/// More than this is better left to the kernel's page cache, which keeps what is read here too.
const DEFAULT_MAX: u64 = 1 << 30;
const DEFAULT_SHARE: u64 = 4;

pub(super) fn parse(text: &str) -> Result<u64, String> {
    match units::parse_size(text)? {
        size if size < MIN => Err(format!("a mount needs {}M or more", MIN >> 20)),
        size => Ok(size),
    }
}

/// A quarter of the memory that this process may use, at most a GiB.
pub(crate) fn cache_default() -> u64 {
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let of_group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| limit(&text));
    let memory = of_machine.into_iter().chain(of_group).min();
    memory.map_or(MIN, |memory| memory / DEFAULT_SHARE).clamp(MIN, DEFAULT_MAX)
}

/// Bytes of memory, of what proc_meminfo(5) says.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest limit of the control group (version 2) and those above it.
fn limit(cgroup: &str) -> Option<u64> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let groups = Path::new(path).ancestors();
    let limits = groups.filter_map(|group| {
        let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kib() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       24685612 kB\n"), Some(24_685_612 << 10));
        assert_eq!(total("MemTotal: much\n"), None);
        assert_eq!(limit("1:memory:/old\n"), None);
    }

    #[test]
    fn defaults_and_sizes_have_bounds() {
        assert!((MIN..=DEFAULT_MAX).contains(&cache_default()));
        assert_eq!(parse("64M"), Ok(64 << 20));
        assert!(parse("1M").is_err());
    }
}
