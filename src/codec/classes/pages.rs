//! Files of pages that change in place: databases and disk images.

use super::{bytes_at, has_any};

/// Signatures at fixed offsets that a file of pages begins with, of whatever size.
const SIGNATURES: &[(usize, &[u8])] = &[
    (0, b"SQLite format 3\0"),
    (16, b"\xde\xc0\xef\xbe\x01\0\0\0"), // LMDB: magic and version of the first meta page
    (16, b"\xed\xda\x0c\xed\x02\0\0\0"), // bbolt (etcd): the same
    (8, b"DUCK"),                        // DuckDB
    (0, b"QFI\xfb"),                     // qcow2
    (0, b"KDMV"),                        // VMDK
    (0x40, b"\x7f\x10\xda\xbe"),         // VDI
    (0, b"conectix"),                    // VHD, growing
    (0, b"vhdxfile"),                    // VHDX
];

/// Signatures of file systems and partition tables: only images are as large.
const IMAGE_SIGNATURES: &[(usize, &[u8])] = &[
    (0, b"XFSB"),
    (0, b"LUKS\xba\xbe"),
    (510, b"\x55\xaa"), // a boot sector: MBR, GPT's, FAT, NTFS
    (512, b"EFI PART"),
    (1080, b"\x53\xef"),     // ext2, ext3, ext4
    (0x1_0040, b"_BHRfS_M"), // btrfs
];
/// Smallest image that is told by a file system's signature.
const IMAGE_MIN: u64 = 16 << 20;
const SECTOR: u64 = 512;

/// Whether a file is one of pages.
pub(super) fn is_paged(first: &[u8], name: &[u8], size: u64) -> bool {
    let is_image = size >= IMAGE_MIN && size.is_multiple_of(SECTOR);
    has_any(first, SIGNATURES)
        || (is_image && has_any(first, IMAGE_SIGNATURES))
        || is_postgres(first, size)
        || is_innodb(first, name, size)
}

/// Bytes of PostgreSQL's pages, as all but a few are built.
const POSTGRES_PAGE: usize = 8192;
/// Pages that are looked at.
const POSTGRES_PAGES: usize = 8;

/// A segment of a table, index, map of free space or of visibility: the first pages have a sane
/// header or are all zero, and not all of them are.
fn is_postgres(first: &[u8], size: u64) -> bool {
    if size == 0 || !size.is_multiple_of(POSTGRES_PAGE as u64) {
        return false;
    }
    let mut sane = 0;
    for page in first.chunks_exact(POSTGRES_PAGE).take(POSTGRES_PAGES) {
        if is_postgres_page(page) {
            sane += 1;
        } else if page.iter().any(|&byte| byte != 0) {
            return false;
        }
    }
    sane > 0
}

/// Log position (8 bytes), checksum, flags, lower and upper end of the free space, start of the
/// special space, page size and version of the layout (2 bytes each), little-endian.
fn is_postgres_page(page: &[u8]) -> bool {
    let field = |at| bytes_at(page, at).map_or(0, u16::from_le_bytes);
    let [flags, lower, upper, special, version] = [10, 12, 14, 16, 18].map(field);
    version == 0x2004
        && flags <= 7
        && 24 <= lower
        && lower <= upper
        && upper <= special
        && special <= 8192
        && special.is_multiple_of(8)
}

/// A tablespace of InnoDB: page 0, of type 8 (`FSP_HDR`), whose two copies of its space's number
/// agree. All big-endian.
fn is_innodb(first: &[u8], name: &[u8], size: u64) -> bool {
    let named = name.ends_with(b".ibd") || name.starts_with(b"ibdata");
    let space: Option<[u8; 4]> = bytes_at(first, 34);
    named
        && size.is_multiple_of(4096)
        && bytes_at(first, 4) == Some([0; 4])
        && bytes_at(first, 24) == Some([0, 8])
        && space.is_some()
        && space == bytes_at(first, 38)
}
