//! What long work tells whoever watches: a terminal, a test, or nobody.

/// Receives progress. All methods may be called from any thread, often; they must be cheap.
pub trait Progress: Send + Sync {
    /// More is known of how much there will be.
    fn expect(&self, files: u64, bytes: u64) {
        let _ = (files, bytes);
    }
    /// So much was done.
    fn done(&self, files: u64, bytes: u64) {
        let _ = (files, bytes);
    }
    /// Something deserves the user's eye, and work goes on.
    fn trouble(&self, path: &[u8], what: &str) {
        let _ = (path, what);
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
