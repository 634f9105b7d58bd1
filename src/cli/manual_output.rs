//! What commands print, for their man pages: real output, of a small repository. Where a command
//! says something else from now on, it is run again and its words are put here.

use super::man::{Part, Section};

/// The section of a page, by the page's name.
pub(crate) fn section(page: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|(name, _)| *name == page).map(|(_, section)| section)
}

const SECTIONS: &[(&str, Section)] = &[
    ("icecore-forget", example(FORGET)),
    ("icecore-prune", example(PRUNE)),
    ("icecore-verify", example(VERIFY)),
    ("icecore-stats", example(STATS)),
    ("icecore-diff", example(DIFF)),
    ("icecore-tag", example(TAG)),
    ("icecore-parity", example(PARITY)),
    ("icecore-repair-packs", example(REPAIR_PACKS)),
    ("icecore-repair-index", example(REPAIR_INDEX)),
    ("icecore-repair-snapshots", example(REPAIR_SNAPSHOTS)),
];

const fn example(parts: &'static [Part]) -> Section {
    Section { heading: "WHAT IT PRINTS", parts }
}

const FORGET: &[Part] = &[
    Part::Code(
        "\
$ icecore forget --keep-daily 2 --keep-weekly 2 --keep-within 12h --keep-tag release
host db1, sources /srv:
        id        time                 tags     why
keep    a7e85e1a  2026-10-31 03:00:00           protected
keep    f49c4afb  2026-11-15 03:00:00  release  tag release; weekly 2026-W46
forget  7724c03f  2026-11-20 03:00:00
keep    65448fb5  2026-11-21 03:00:00           daily 2026-11-21
forget  c20129e5  2026-11-22 03:00:00
keep    0e1f8dca  2026-11-22 15:00:00           within 12h; daily 2026-11-22; weekly 2026-W47

keep 4 snapshots, forget 2
Forget 2 snapshots? [y/N] y
forgot 2 snapshots",
    ),
    Part::Text(
        "With --prune the plan of the prune follows that of the forgetting, and one question \
                is asked for both.",
    ),
];

const PRUNE: &[Part] = &[
    Part::Code(
        "\
$ icecore prune --yes
snapshots  keep 2; delete 4
packs      keep: 5 packs, 3.8 MiB, 228 B of that unused
packs      rewrite: little of it is needed: 1 pack, 13.4 MiB, 11.4 MiB needed
packs      delete: nothing in it is needed: 6 packs, 5.7 MiB
frees      7.6 MiB
rewritten  142 chunks, 12.1 MiB
deleted    0 snapshots, 0 packs, 0 B
waits      4 snapshots, 7 packs: deleted by the first prune after 2026-11-24 03:14:24
took       0.13 s",
    ),
    Part::Text("The day after, or at once where nobody else uses the repository:"),
    Part::Code(
        "\
$ icecore prune --yes --grace 0
unfinished  generation 0 of vm, decided, 4 snapshots, 7 packs at 2026-11-23 08:14:24: finished first
snapshots   keep 2; delete 4
packs       keep: 6 packs, 15.3 MiB, 228 B of that unused
frees       0 B
deleted  4 snapshots, 7 packs, 20.1 MiB
took     0.09 s",
    ),
];

const VERIFY: &[Part] = &[Part::Code(
    "\
$ icecore verify --older-than 30d --max-duration 1h --max-rate 200M
verdict      all good: every stored byte was checked
snapshots    2
files        97 in 23 pages
index        183 chunks in 2 segments
packs        4 with 183 chunks, 34.4 MiB
data read    34.4 MiB in 4 packs
verified     100.0 % of bytes within 30 days
took         0.06 s
$ icecore ledger
time                 event     what was read                    took    result  host
2026-11-23 02:36:41  verified  34.4 MiB of 34.4 MiB in 4 packs  0.06 s  good    vm
1 record",
)];

const STATS: &[Part] = &[Part::Code(
    "\
$ icecore stats
snapshots           4, 2026-11-19 03:00:00 to 2026-11-22 03:00:00
all together        53.4 MiB in 812 files
inline files        14.9 KiB in 800 files
default class       53.4 MiB in 12 files
distinct content    19.1 MiB in 250 chunks
distinct metadata   77.3 KiB in 23 chunks
content as stored   19.1 MiB in 5 packs
metadata as stored  24.3 KiB in 5 packs
index               17.1 KiB in 3 segments
repository          19.1 MiB in 19 objects
verified            100.0 % of bytes within 30 days
by deduplication    2.8 times smaller
by compression      1.0 times smaller
all in all          2.8 times smaller
$ icecore stats --snapshots
id        time                     size      new   grew by       sum    alone
01bab075  2026-11-19 03:00:00  13.4 MiB  1.9 MiB  13.4 MiB  13.4 MiB  1.9 MiB
4c172d70  2026-11-20 03:00:00  13.4 MiB  1.9 MiB   1.9 MiB  15.3 MiB  1.9 MiB
0d5a21e6  2026-11-21 03:00:00  13.4 MiB  1.9 MiB   1.9 MiB  17.2 MiB  1.9 MiB
ae674cec  2026-11-22 03:00:00  13.4 MiB  1.9 MiB   1.9 MiB  19.1 MiB  1.9 MiB
4 snapshots",
)];

const DIFF: &[Part] = &[
    Part::Code(
        "\
$ icecore diff latest~1 latest
A -                    /cache.bin
M content,mtime        /etc/app.conf
A -                    /etc/new.conf
D -                    /etc/old.conf
P mode                 /model.bin
$ icecore diff latest~1 latest --stat
added               2 files, 4.8 MiB
removed             1 file, 2 B
content changed     1 file, 4 B that were 2 B
properties changed  1 file
all together        4.8 MiB more",
    ),
    Part::Text(
        "A is added, D removed, M of other content, P of other properties, T of another type.",
    ),
];

const TAG: &[Part] = &[Part::Code(
    "\
$ icecore tag 2026-11-15 --add release
f49c4afb  tags release
$ icecore protect 2026-10-31
a7e85e1a  no tags, protected",
)];

const PARITY: &[Part] = &[Part::Code(
    "\
$ icecore parity
parity            5% for each new pack
protected packs   6 of 6, 837.4 KiB for 15.3 MiB",
)];

const REPAIR_PACKS: &[Part] = &[
    Part::Text("A quarter of a pack was overwritten, and nobody else has it:"),
    Part::Code(
        "\
$ icecore repair packs --yes
icecore: data/b8/b8524c68… is damaged: to be set aside, 88 of 120 chunks can be read and will be written anew
icecore: lost: 25223c3b:/model-3.bin
icecore: lost: 25223c3b:/model-2.bin
  hint: `icecore repair packs --forget` forgets the snapshots of which successors say what they lost; then `icecore prune` goes on
verdict       repaired, and content was lost
packs         2, 8.6 MiB
set aside     1
written anew  88 chunks
lost paths    2
successors    d5cb31e3 for 25223c3b
$ icecore ingest --force -C srv . && icecore verify --read-data
…
verdict         all good: every stored byte was checked",
    ),
];

const REPAIR_INDEX: &[Part] = &[Part::Code(
    "\
$ icecore repair index --yes
verdict                 the index is to be built anew
segments                2
damaged segments        1
packs                   4 with 183 chunks
  index/cb024ad1380d19d2550b5245de20dc0cd2e8327411c885fb62c58c0420d1066a is damaged: its bytes are not what its name says
wrote 1 segment with 183 places; deleted 2 old segments",
)];

const REPAIR_SNAPSHOTS: &[Part] = &[Part::Code(
    "\
$ icecore repair snapshots --yes
2 snapshots read
remove: forgotten/44324192a543d6ba3038a08df8462af7 is damaged: frame states 54 payload bytes, 55 are there at offset 8 (the snapshot is no longer forgotten)
0 written, 1 removed",
)];
