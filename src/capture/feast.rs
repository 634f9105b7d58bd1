//! What a registry of Feast names: the files of its offline store.
//!
//! The registry is one message of protocol buffers, rewritten in place at each change (see feast's
//! `protos/feast/core/Registry.proto`), so a copy of it may be empty or cut short. Only the few fields
//! are read that name files.

use super::message::{Fields, Value};

/// Longest registry that is looked at, in bytes.
pub const REGISTRY_MAX: u64 = 256 << 20;
/// Of the registry: its data sources.
const DATA_SOURCES: u64 = 12;
/// Of a data source: the options of one in files.
const FILE_OPTIONS: u64 = 11;
/// Of those: where they are.
const URI: u64 = 2;

/// Places of the files that the data sources of a registry name, as they stand there. `None` where
/// it is no registry, or not all of one.
#[must_use]
pub fn files(registry: &[u8]) -> Option<Vec<String>> {
    let mut files = Vec::new();
    let mut is_empty = true;
    for field in Fields(registry) {
        is_empty = false;
        if let (DATA_SOURCES, Value::Bytes(source)) = field? {
            for field in Fields(source) {
                if let (FILE_OPTIONS, Value::Bytes(options)) = field? {
                    for field in Fields(options) {
                        if let (URI, Value::Bytes(uri)) = field? {
                            files.push(std::str::from_utf8(uri).ok()?.to_owned());
                        }
                    }
                }
            }
        }
    }
    (!is_empty).then_some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
        [&[(field << 3) as u8 | 2, value.len() as u8], value].concat()
    }

    #[test]
    fn files_of_data_sources_are_named_and_half_a_registry_is_none() {
        let options = [bytes(1, b"format"), bytes(URI, b"/srv/a.parquet")].concat();
        let source = [bytes(13, b"other"), bytes(FILE_OPTIONS, &options)].concat();
        let entity = bytes(1, b"entity");
        let registry = [entity.clone(), bytes(DATA_SOURCES, &source)].concat();
        assert_eq!(files(&registry).unwrap(), ["/srv/a.parquet"]);
        assert_eq!(files(&entity), Some(Vec::new()));
        for len in (0..registry.len()).filter(|len| *len != entity.len()) {
            assert_eq!(files(&registry[..len]), None, "{len}");
        }
    }
}
