//! Files that a pattern names, `*`, `?`, `[…]` and `**` in the words of gitignore.

use std::fs;
use std::path::{Path, PathBuf};

use ignore::overrides::OverrideBuilder;

/// More files than this are no pattern but a mistake.
const FILES_MAX: usize = 1_000_000;

/// Regular files that match an absolute pattern, by path.
pub(super) fn matching(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let mut rules = OverrideBuilder::new("/");
    let wrong = |err: ignore::Error| format!("the pattern {pattern}: {err}");
    rules.add(pattern).map_err(wrong)?;
    let rules = rules.build().map_err(wrong)?;
    let mut found = Vec::new();
    let mut folders = vec![base(pattern)];
    while let Some(folder) = folders.pop() {
        if folder.is_file() {
            found.push(folder);
            continue;
        }
        let fail = |err: std::io::Error| format!("{}: {err}", folder.display());
        for entry in fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(fail)?);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && rules.matched(&path, false).is_whitelist() {
                found.push(path);
            }
        }
        if found.len() > FILES_MAX {
            return Err(format!("the pattern {pattern} names more than {FILES_MAX} files"));
        }
    }
    found.sort();
    Ok(found)
}

/// The part of a pattern that has no wildcard, whole names only.
fn base(pattern: &str) -> PathBuf {
    let is_plain = |name: &&str| !name.contains(['*', '?', '[', '{', '\\']);
    let names: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty()).collect();
    names
        .iter()
        .copied()
        .take_while(is_plain)
        .fold(Path::new("/").to_owned(), |at, name| at.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files_below_their_plain_part() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::create_dir_all(at.join("a/b")).unwrap();
        for file in ["x.json", "a/y.json", "a/b/z.json", "a/n.txt"] {
            fs::write(at.join(file), "{}").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = matching(&format!("{}/{pattern}", at.display())).unwrap();
            found.iter().map(|path| path.strip_prefix(at).unwrap().display().to_string()).collect()
        };
        assert_eq!(names("**/*.json"), ["a/b/z.json", "a/y.json", "x.json"]);
        assert_eq!(names("*.json"), ["x.json"]);
        assert_eq!(names("a/n.txt"), ["a/n.txt"]);
        assert_eq!(names("a/*.json"), ["a/y.json"]);
        assert!(matching(&format!("{}/none/*.json", at.display())).is_err());
        assert_eq!(base("/srv/models/**/*.gguf"), Path::new("/srv/models"));
    }
}
