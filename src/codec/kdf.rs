//! Wrapping keys from what a user has: a passphrase or a key file.
//!
//! A passphrase goes through Argon2id (RFC 9106), slow and hungry on purpose, with parameters and
//! salt kept in the key slot so that they can grow without a new format. A key file has entropy
//! enough; one BLAKE3 `derive_key` of salt and contents will do.
//!
//! What must stay true: parameters read from a slot were capped by
//! [`crate::format::KeySlot::decode`] before they come here.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::CodecError;

/// Memory for new slots in KiB, 64 MiB: the second recommended option of RFC 9106, section 4,
/// which small machines can afford while they run a backup.
pub const MEMORY_KIB_DEFAULT: u32 = 64 << 10;
/// Passes for new slots, by the same recommendation.
pub const PASSES_DEFAULT: u32 = 3;
/// Lanes for new slots, by the same recommendation.
pub const LANES_DEFAULT: u32 = 4;

const KEY_FILE_CONTEXT: &str = "icecore 1 key file";

/// Argon2id, version 0x13, of a passphrase.
pub fn passphrase_key(
    passphrase: &[u8],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: &[u8; 32],
) -> Result<Zeroizing<[u8; 32]>, CodecError> {
    let fail = |err: argon2::Error| CodecError::Derivation(err.to_string());
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(memory_kib, passes, lanes, Some(key.len())).map_err(fail)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut *key)
        .map_err(fail)?;
    Ok(key)
}

/// BLAKE3 `derive_key("icecore 1 key file", salt (32) ‖ contents)`.
#[must_use]
pub fn key_file_key(contents: &[u8], salt: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let hash =
        blake3::Hasher::new_derive_key(KEY_FILE_CONTEXT).update(salt).update(contents).finalize();
    Zeroizing::new(*hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_keys() {
        let key = passphrase_key(b"correct horse", 256, 2, 2, &[5; 32]).unwrap();
        // The same as Argon2id of Python's cryptography 48.
        let golden = "573533c67521a3f0eb294b3d7ab38b315e93b13b1d7ed1f599dd25582278aea9";
        assert_eq!(hex::encode(*key), golden);
        let golden = "3ccbc11065de0cf70a0a916e9ce914bd247601b7b01ec48c61711dd738f4ae36";
        assert_eq!(hex::encode(*key_file_key(b"contents", &[5; 32])), golden);
    }

    #[test]
    fn every_parameter_changes_the_key() {
        let key = |word: &[u8], memory, passes, lanes, salt: u8| {
            *passphrase_key(word, memory, passes, lanes, &[salt; 32]).unwrap()
        };
        let keys = [
            key(b"a", 64, 1, 1, 1),
            key(b"b", 64, 1, 1, 1),
            key(b"a", 65, 1, 1, 1),
            key(b"a", 64, 2, 1, 1),
            key(b"a", 64, 1, 2, 1),
            key(b"a", 64, 1, 1, 2),
            key(b"", 64, 1, 1, 1),
            *key_file_key(b"a", &[1; 32]),
            *key_file_key(b"b", &[1; 32]),
            *key_file_key(b"a", &[2; 32]),
        ];
        for (number, key) in keys.iter().enumerate() {
            assert!(!keys[..number].contains(key), "{number}");
        }
    }

    #[test]
    fn impossible_parameters_are_an_error() {
        for (memory, passes, lanes) in [(0, 1, 1), (7, 1, 1), (64, 0, 1), (64, 1, 0), (8, 1, 2)] {
            let key = passphrase_key(b"a", memory, passes, lanes, &[1; 32]);
            assert!(matches!(key, Err(CodecError::Derivation(_))), "{memory} {passes} {lanes}");
        }
    }
}
