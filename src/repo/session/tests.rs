//! Claims: each chunk is written by one thread.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::codec::{BlockEncoder, Compression};
use crate::format::Folder;
use crate::format::index::Segment;
use crate::repo::index;
use crate::repo::{BlockDraft, InitOptions, OpenOptions};
use crate::storage::MemoryStorage;

fn repository() -> Repository {
    let storage = Arc::new(MemoryStorage::new());
    Repository::init(&*storage, None, "", InitOptions::default()).unwrap();
    Repository::open(storage, None, &OpenOptions::default()).unwrap()
}

fn begin(repo: &Repository) -> Session<'_> {
    let writer = Writer { host: "host".into(), pid: 1 };
    Session::begin(repo, writer, Time { secs: 1, nanos: 0 }).unwrap()
}

fn write(session: &Session<'_>, id: ChunkId, plain: &[u8]) {
    let mut draft = BlockDraft::default();
    draft.push(id, plain);
    let mut encoder = BlockEncoder::new(Compression::Fast).unwrap();
    session.write_block(PackKind::Data, &draft, &mut encoder).unwrap();
}

#[test]
fn claims_last_until_a_segment_has_the_chunk() {
    let repo = repository();
    let session = begin(&repo);
    let claims = || session.claims.iter().map(|shard| lock(shard).len()).sum::<usize>();
    for n in 0..50_u32 {
        let plain = n.to_le_bytes();
        let id = session.id_of(PackKind::Data, &plain);
        assert!(session.claim(&id).unwrap());
        assert!(!session.claim(&id).unwrap());
        write(&session, id, &plain);
    }
    assert_eq!(claims(), 50);
    session.flush().unwrap();
    assert_eq!(claims(), 0);
    for n in 0..50_u32 {
        assert!(!session.claim(&session.id_of(PackKind::Data, &n.to_le_bytes())).unwrap());
    }
    assert_eq!(claims(), 0, "asking leaves no claim");
}

/// Threads want the same chunks while segments come out and claims go.
#[test]
fn a_chunk_is_claimed_once_however_claims_and_segments_cross() {
    let repo = repository();
    let session = begin(&repo);
    let claimed: Vec<_> = (0..200).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (session, claimed) = (&session, &claimed);
            scope.spawn(move || {
                for (n, count) in claimed.iter().enumerate() {
                    let plain = n.to_le_bytes();
                    let id = session.id_of(PackKind::Data, &plain);
                    if session.claim(&id).unwrap() {
                        count.fetch_add(1, Ordering::SeqCst);
                        write(session, id, &plain);
                    }
                    if n % 5 == thread {
                        session.flush().unwrap();
                    }
                }
            });
        }
    });
    let counts: Vec<_> = claimed.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    assert!(counts.iter().all(|count| *count == 1), "{counts:?}");
}

/// 1,200 small ingests and no prune: what is replaced stays stored, and is listed by what replaces
/// it. With one tier for all small segments each was listed 36 times, and more the more there were.
#[test]
fn lists_of_what_is_replaced_stay_short_without_a_prune() {
    const INGESTS: usize = 1200;
    let repo = repository();
    let session = begin(&repo);
    let id = |n: usize| session.id_of(PackKind::Data, &n.to_le_bytes());
    for n in 0..INGESTS {
        write(&session, id(n), &n.to_le_bytes());
        session.flush().unwrap();
        session.merge_index();
    }
    assert!((0..INGESTS).all(|n| session.has_chunk(&id(n))));
    let in_force = repo.index().segments().len();
    assert!(in_force <= 12, "{in_force} segments in force");
    let mut listed = 0;
    for object in repo.storage().list(Folder::Index).unwrap() {
        let Some(ObjectKey::Segment(id)) = object.key else { panic!("{object:?}") };
        let body = index::fetch(repo.storage(), repo.vault(), id).unwrap();
        listed += Segment::open(body).unwrap().replaces().len();
    }
    assert!((INGESTS..=12 * INGESTS).contains(&listed), "{listed} entries in all lists");
    // Who opens it now sees the same few.
    repo.index().reload().unwrap();
    assert_eq!(repo.index().segments().len(), in_force);
}
