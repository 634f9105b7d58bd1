//! What icecore-mount(1) says of the layout and the views, with commands that were run as they
//! stand here.

use super::super::man::{Part, Section};

pub(crate) const MOUNT: &[Section] = &[
    Section {
        heading: "LAYOUT",
        parts: &[
            Part::Code(
                "latest                         the newest snapshot
snapshots/TIME-ID/…            every snapshot; TIME is UTC, ID the start of its id
hosts/HOST/TIME-ID             links to the snapshots of a host,
tags/TAG/TIME-ID               with a tag,
sources/SOURCE/TIME-ID         and into them, to where they have a source
versions/PATH/TIME-ID.EXT      every version of a path
diff/A..B/added/…              what only B has
diff/A..B/changed/…            what both have and is not the same, as B has it
diff/A..B/removed/…            what only A has
.icecore/status                what the mount shows, was asked and has read;
.icecore/status.json           the same for programs,
.icecore/metrics               and for Prometheus",
            ),
            Part::Text(
                "latest, and the entries of hosts/, tags/ and sources/, are symbolic links: write \
                 latest/ where a command does not follow one. In sources/ a slash is _, so \
                 /srv/models is srv_models and a whole root is _.",
            ),
            Part::Text(
                "New snapshots appear, and removed ones disappear, within two seconds. Who has \
                 something of a removed one open reads on until its packs are gone.",
            ),
        ],
    },
    Section {
        heading: "VERSIONS",
        parts: &[
            Part::Text(
                "Below versions/ every name of a path is a directory, that of a file too. It holds \
                 each distinct version of the file, named after the first snapshot that has it, \
                 with the file's extension. A version is the file itself, with its number, owner \
                 and times. Kind, mode, owner, mtime, extended attributes and content make a \
                 version; one that comes back later is the same one. Directories hold every name \
                 that they held in any snapshot; where a path was a directory and a file, it holds \
                 both.",
            ),
            Part::Text(
                "A directory there may be entered by those who may enter it in all snapshots: \
                 permissions that not all of them grant are left out, as are those of group and \
                 others where an ACL or another owner or group is met. A snapshot whose directory \
                 is damaged is left out, with a message in the log.",
            ),
        ],
    },
    Section {
        heading: "DIFFERENCES",
        parts: &[
            Part::Text(
                "A and B are names below snapshots/, the start of an id (4 digits and more), \
                 latest, latest~N, or the start of a name from its day on, which means the newest \
                 that fits. Any two snapshots have a directory in diff/, whether it is listed or \
                 not: listed are those that follow one another from one host and source. Other \
                 names than the full ones are links.",
            ),
            Part::Text(
                "A difference is told from the trees; nothing is read. Kind, mode, owner, mtime, \
                 extended attributes and content are compared, ctime and link counts are not; \
                 neither is the mtime of a directory, which says only that entries came or went. \
                 What moved was removed and added; so was what became something of another kind. \
                 A directory that both have is shown where there is something in it, or in changed \
                 where it changed itself. So A without removed, with added and changed laid over \
                 it, is B.",
            ),
            Part::Text(
                "With --allow-other such a directory may be listed and entered by those who may do \
                 so in both snapshots: permissions that A or B does not grant are left out, those of \
                 group and others too where owner, group or ACL differ.",
            ),
        ],
    },
    Section {
        heading: "ATTRIBUTES",
        parts: &[
            Part::Code(
                "user.icecore.blake3     plain BLAKE3 of a file's content, as b3sum prints it
user.icecore.stored     bytes of packs that a file's content takes, its share of each block
user.icecore.snapshot   id of the snapshot that a directory is of
user.icecore.files      files below a directory; names of one hard-linked file each count
user.icecore.bytes      their sizes together
user.icecore.entries    entries of every kind below a directory",
            ),
            Part::Text(
                "They are answered by name and never listed, so that no copy takes them along. \
                 Where the source had an attribute of that name, that one is shown. A file has no \
                 snapshot, since it may be one file of many. Very large files have no BLAKE3 where \
                 more than 4 GiB of them are holes; content of up to 512 bytes lies in its \
                 directory's page and takes 0. Totals are those of a whole directory in its \
                 snapshot, below diff/ too.",
            ),
        ],
    },
    Section {
        heading: "WORKING WITH SNAPSHOTS",
        parts: &[
            Part::Text(
                "With M=/mnt/back, and OLD and NEW two names below snapshots/. What changed, and \
                 how (of a directory that did not change, diff reads nothing):",
            ),
            Part::Code(
                "find $M/diff/latest~1..latest/ -type f
diff -r --no-dereference $M/snapshots/$OLD/etc $M/snapshots/$NEW/etc
git diff --no-index --stat $M/snapshots/$OLD/etc $M/latest/etc
comm -3 <(cd $M/snapshots/$OLD && find . | sort) <(cd $M/latest/ && find . | sort)",
            ),
            Part::Text("Versions of a file, the last two of them, and those that hold a word:"),
            Part::Code(
                "ls -l $M/versions/etc/app.toml
ls $M/versions/etc/app.toml/* | tail -2 | xargs diff -u
grep -l token $M/versions/etc/app.toml/*",
            ),
            Part::Text("What is newer than a date, or than a file of an older snapshot:"),
            Part::Code(
                "find $M/latest/srv -newermt 2026-11-01 -type f
find $M/latest/srv -newer $M/snapshots/$OLD/srv/app.toml -type f",
            ),
            Part::Text(
                "Several snapshots as folders that share what is the same; and what changed as an \
                 archive:",
            ),
            Part::Code(
                "rsync -a $M/snapshots/$OLD/srv/ /restore/old/
rsync -a --link-dest=/restore/old $M/latest/srv/ /restore/new/
tar -C $M/diff/latest~1..latest/ -cf changes.tar added changed",
            ),
            Part::Text("From OLD to NEW where a copy of OLD is at hand:"),
            Part::Code(
                "cd /restore/old
(cd $M/diff/$OLD..$NEW/removed && find . ! -type d -print0) | xargs -0 rm -f
cp -a $M/diff/$OLD..$NEW/added/. $M/diff/$OLD..$NEW/changed/. .",
            ),
            Part::Text(
                "Proof of a restore, by sums that the source has, by sums of the mount, and by \
                 those that the snapshot states:",
            ),
            Part::Code(
                "(cd $M/latest/srv && find . -type f -exec sha256sum {} +) > SUMS
(cd /restore/srv && sha256sum -c --quiet) < SUMS
(cd $M/latest/srv && find . -type f -exec getfattr -n user.icecore.blake3 {} + |
    awk -F'\"' '/^# file: /{f=substr($0,9)} /blake3=/{print $2 \"  \" f}') > B3SUMS
(cd /restore/srv && b3sum -c --quiet) < B3SUMS",
            ),
            Part::Text("What the mount does:"),
            Part::Code(
                "cat $M/.icecore/status
cp $M/.icecore/metrics /var/lib/prometheus/node-exporter/icecore.prom
getfattr --only-values -n user.icecore.bytes $M/latest/srv",
            ),
        ],
    },
];
