//! Content on its way to and from storage: cut into chunks, compressed, sealed.
//!
//! Everything here is a function of bytes, keys and parameters. What bears the format (cut
//! positions, key derivation, the payload's layout) is pinned by golden tests beside it.

pub mod aead;
pub mod block;
pub mod chunker;
pub mod classes;
pub mod kdf;
pub mod parity;

pub use aead::{MasterKey, ObjectCipher, Purpose, SubKey, TAG_LEN};
pub use block::{BlockDecoder, BlockEncoder, Compression, Element};
pub use chunker::{Chunker, Cutter, ReadChunks};
pub use classes::{Layout, Sniffed, TensorMap};

/// What coding can fail with, apart from bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The operating system gave no random bytes.
    #[error("the system gives no random bytes ({0})")]
    NoRandomness(String),
    /// A passphrase cannot be turned into a key with these parameters.
    #[error("impossible key derivation ({0})")]
    Derivation(String),
    /// zstd refused to start; it has no memory.
    #[error("cannot start compression")]
    Compression(#[source] std::io::Error),
}

/// Random bytes of the operating system: salts, ids, keys.
pub fn random<const N: usize>() -> Result<[u8; N], CodecError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|err| CodecError::NoRandomness(err.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_do_not_repeat() {
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }
}
