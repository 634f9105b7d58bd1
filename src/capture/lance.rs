//! What a version of a Lance dataset needs: the files that its manifest names.
//!
//! A manifest is a message of protocol buffers at a place that the file's last 16 bytes tell (8
//! bytes of position, two version numbers, `LANC`; see lance's `protos/table.proto`). Only the few
//! fields are read that name files of the dataset itself.

use super::message::{Fields, Value};

/// Longest manifest that is looked at, in bytes.
pub const MANIFEST_MAX: u64 = 256 << 20;
const MAGIC: &[u8] = b"LANC";
const TAIL: usize = 16;

/// What a manifest says of its version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Its number.
    pub version: u64,
    /// Rows that are not deleted.
    pub rows: u64,
    /// Paths of its files below the dataset's folder.
    pub files: Vec<String>,
}

/// Reads a manifest. `None` where it is none, or one of a branch, whose files lie elsewhere.
#[must_use]
pub fn manifest(bytes: &[u8]) -> Option<Manifest> {
    let tail = bytes.len().checked_sub(TAIL)?;
    let (_, tail) = bytes.split_at_checked(tail)?;
    let (position, rest) = tail.split_first_chunk::<8>()?;
    if rest.get(4..) != Some(MAGIC) {
        return None;
    }
    let message = usize::try_from(u64::from_le_bytes(*position)).ok()?;
    let (length, message) = bytes.get(message..)?.split_first_chunk::<4>()?;
    let message = message.get(..u32::from_le_bytes(*length) as usize)?;
    let mut manifest = Manifest::default();
    for field in Fields(message) {
        match field? {
            (2, Value::Bytes(fragment)) => manifest.fragment(fragment)?,
            (3, Value::Number(version)) => manifest.version = version,
            (20, Value::Bytes([_, ..])) => return None,
            _ => {}
        }
    }
    Some(manifest)
}

impl Manifest {
    /// Data files, the file of deleted rows, and rows.
    fn fragment(&mut self, fragment: &[u8]) -> Option<()> {
        let (mut id, mut rows, mut deleted) = (0, 0_u64, None);
        for field in Fields(fragment) {
            match field? {
                (1, Value::Number(number)) => id = number,
                (2, Value::Bytes(file)) => self.files.extend(data_file(file)?),
                (3, Value::Bytes(file)) => deleted = Some(file),
                (4, Value::Number(number)) => rows = number,
                _ => {}
            }
        }
        if let Some(file) = deleted {
            rows = rows.saturating_sub(self.deletions(id, file)?);
        }
        self.rows = self.rows.saturating_add(rows);
        Some(())
    }

    /// The file of a fragment's deleted rows; how many they are.
    fn deletions(&mut self, fragment: u64, file: &[u8]) -> Option<u64> {
        let (mut kind, mut version, mut number, mut rows, mut is_own) = (0, 0, 0, 0, true);
        for field in Fields(file) {
            match field? {
                (1, Value::Number(value)) => kind = value,
                (2, Value::Number(value)) => version = value,
                (3, Value::Number(value)) => number = value,
                (4, Value::Number(value)) => rows = value,
                // Of another dataset.
                _ => is_own = false,
            }
        }
        if is_own {
            let extension = if kind == 0 { "arrow" } else { "bin" };
            self.files.push(format!("_deletions/{fragment}-{version}-{number}.{extension}"));
        }
        Some(rows)
    }
}

/// `Some(None)` where it belongs to another dataset.
fn data_file(file: &[u8]) -> Option<Option<String>> {
    let mut path = None;
    for field in Fields(file) {
        match field? {
            (1, Value::Bytes(name)) => path = Some(std::str::from_utf8(name).ok()?),
            (7, Value::Number(_)) => return Some(None),
            _ => {}
        }
    }
    Some(path.map(|path| format!("data/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
        [&[field << 3 | 2, value.len() as u8], value].concat()
    }

    fn file_of(message: &[u8]) -> Vec<u8> {
        let mut file = b"before".to_vec();
        file.extend((message.len() as u32).to_le_bytes());
        file.extend(message);
        file.extend(6_u64.to_le_bytes());
        file.extend([0, 0, 3, 0]);
        file.extend(MAGIC);
        file
    }

    #[test]
    fn data_and_deletions_are_named_and_those_of_other_datasets_are_not() {
        let own = bytes(1, b"a.lance");
        let other = [bytes(1, b"b.lance"), vec![7 << 3, 1]].concat();
        let deleted = bytes(3, &[1 << 3, 1, 2 << 3, 5, 3 << 3, 0x96, 1, 4 << 3, 2]);
        let own = [bytes(2, &own), bytes(2, &other)].concat();
        let fragment = [vec![1 << 3, 7], own, deleted, vec![4 << 3, 40]].concat();
        let file = file_of(&[bytes(2, &fragment), bytes(1, b"schema"), vec![3 << 3, 9]].concat());
        let found = manifest(&file).unwrap();
        assert_eq!(found.files, ["data/a.lance", "_deletions/7-5-150.bin"]);
        assert_eq!((found.version, found.rows), (9, 38));
    }

    #[test]
    fn odd_bytes_are_no_manifest() {
        let whole = file_of(&bytes(2, &bytes(2, &bytes(1, b"a"))));
        assert!(manifest(&whole).is_some());
        for len in 0..whole.len() {
            assert_eq!(manifest(&whole[..len]), None, "{len}");
        }
        assert_eq!(manifest(&file_of(&bytes(20, b"a"))), None);
        assert_eq!(manifest(&file_of(&[2 << 3 | 2, 200])), None);
        for position in [u64::MAX, 1 << 40, whole.len() as u64] {
            let mut odd = whole.clone();
            let at = odd.len() - TAIL;
            odd[at..at + 8].copy_from_slice(&position.to_le_bytes());
            assert_eq!(manifest(&odd), None);
        }
    }
}
