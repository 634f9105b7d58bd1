//! What the manual says of mounts beside their options.

use super::super::man::{Part, Section};

/// Sections of icecore-mount(1).
pub(crate) const MOUNT: &[Section] = &[
    Section {
        heading: "ONE SNAPSHOT",
        parts: &[
            Part::Text(
                "With --snapshot the root of the mount is the root of that snapshot, or the \
                 directory that is named after it: SNAP:/PATH, as for ls and restore. It stays that \
                 snapshot when others follow; latest is the newest at the time of mounting. Nothing \
                 of what LAYOUT says is there, .icecore neither: all names are the snapshot's. \
                 Entries have the inode numbers that they have among all snapshots, the root has 1.",
            ),
            Part::Code(
                "icecore -r /backup mount --snapshot latest:/srv/models /mnt/models\n\
                 icecore -r /backup mount --snapshot 2026-11-22 --host db1 /mnt/db1",
            ),
        ],
    },
    Section {
        heading: "OWNERS AND PERMISSIONS",
        parts: &[
            Part::Text(
                "Entries belong to the numbers that they belonged to at the source, and the kernel \
                 enforces their modes and ACLs for everybody but root. Without --allow-other nobody \
                 but who mounted it sees anything, not even root where a plain user did; a plain \
                 user needs user_allow_other in /etc/fuse.conf for it.",
            ),
            Part::Text(
                "A plain user who mounts a snapshot of somebody else's files sees names and reads \
                 what is open to all. --uid and --gid show everything as theirs, so that the \
                 owner's permissions apply; both take a number or a name. --map-owner goes by the \
                 names of the source's users and groups: where this system knows the name, its \
                 number is shown, else that of the source, which may be somebody else's here. --uid \
                 and --gid outdo it. Modes are never changed, and entries of ACLs keep the numbers \
                 that they were stored with. Set-uid bits and devices have no effect on a mount.",
            ),
            Part::Code("icecore -r ~/backup mount --uid $(id -u) --gid $(id -g) ~/back"),
        ],
    },
    Section {
        heading: "PROCESSORS",
        parts: &[Part::Text(
            "Each request of the kernel wakes a thread, and its answer another. On a processor that \
             sleeps that takes longer than the answer, above all in virtual machines. So while \
             requests stream, thousands in a second, icecore asks the kernel for a low latency \
             (/dev/cpu_dma_latency, which root may), and takes that back a tenth of a second after \
             they end. Meanwhile idle processors draw more power; --power-saving leaves them be. \
             restore asks for it for as long as it runs.",
        )],
    },
    Section {
        heading: "MOUNT AND FSTAB",
        parts: &[
            Part::Text(
                "mount(8) mounts type fuse.icecore where the package fuse3 is installed and icecore \
                 is in /usr/local/bin or /usr/bin. With links to icecore named \
                 /sbin/mount.fuse.icecore and /sbin/mount.icecore it needs no fuse3, and also knows \
                 the type icecore. It looks for programs in the system's folders only.",
            ),
            Part::Code(
                "ln -s /usr/local/bin/icecore /sbin/mount.icecore\n\
                 ln -s /usr/local/bin/icecore /sbin/mount.fuse.icecore\n\
                 mount -t fuse.icecore /backup /mnt/back -o passphrase-file=/etc/icecore/passphrase\n\
                 mount -t icecore /backup /mnt/models -o snapshot=latest,path=/srv/models,noexec",
            ),
            Part::Text("A line of /etc/fstab; blanks in values are written \\040:"),
            Part::Code(
                "/backup /mnt/back fuse.icecore \
                 passphrase-file=/etc/icecore/passphrase,allow_other,noauto,nofail,_netdev,\
                 x-systemd.automount 0 0",
            ),
            Part::Text(
                "Options with a value: snapshot=, path= (a directory of the snapshot, latest unless \
                 told), host=, tag=, source=, passphrase-file=, passphrase-command=, key-file=, \
                 cache=, threads=, uid=, gid=, log=, cache-dir=, limit-download=. Options without: \
                 allow_other, map_owner, no_export, noexec, power_saving. Dashes and underscores are the \
                 same. A value with a comma stands in double quotes.",
            ),
            Part::Text(
                "These are heeded by mount(8), systemd or the kernel and left to them: ro, auto, \
                 noauto, user, users, owner, group, nofail, _netdev, x-*, and the usual words for \
                 access times, devices and set-uid programs. rw is not refused, since mount(8) says \
                 it by itself, and the mount is read-only all the same. remount is refused, and so \
                 is every word that is not known, unless mount(8) has -s. With user in fstab a plain \
                 user mounts and unmounts; the repository must be theirs to read.",
            ),
        ],
    },
    Section {
        heading: "OVERLAYS",
        parts: &[
            Part::Text(
                "A writable layer over a snapshot is what drills use, and works by hand too. Mount \
                 with --no-export then: since Linux 6.16 the kernel holds a file that it finds again \
                 by its handle for outdated, and what was changed in a layer over a mount that gives \
                 handles out cannot be read any more (ESTALE) once caches were dropped, as they are \
                 when memory is short.",
            ),
            Part::Code(
                "icecore mount --no-export --snapshot latest:/srv/pg /mnt/pg\n\
                 mount -t overlay overlay -o lowerdir=/mnt/pg,upperdir=/tmp/up,workdir=/tmp/work /srv/try",
            ),
        ],
    },
    Section {
        heading: "SYSTEMD",
        parts: &[
            Part::Text(
                "--print-unit prints a service with the options that are given beside it. With \
                 --foreground icecore tells systemd when the mount is ready, when it is unmounted, \
                 and in its status who still uses it when it is to stop. The key is a credential of \
                 the unit: what is called icecore.passphrase or icecore.key is found by every \
                 command, unless an option or variable names another. %d/NAME names any credential.",
            ),
            Part::Code(
                "icecore -r /backup --passphrase-file /etc/icecore/passphrase \
                 mount --allow-other --print-unit /mnt/back \
                 > /etc/systemd/system/icecore-back.service\n\
                 systemctl enable --now icecore-back.service",
            ),
            Part::Text(
                "Stopping it waits a minute for who uses the mount, then takes it off the tree. A \
                 unit that hides parts of the file system (ProtectSystem=, PrivateTmp= and the like) \
                 would hide the mount from everybody else too.",
            ),
        ],
    },
    Section {
        heading: "AUTOFS",
        parts: &[
            Part::Text(
                "automount(8) mounts it on access and unmounts it when it was not used for a while. \
                 Two lines, of /etc/auto.master and of the map that it names:",
            ),
            Part::Code(
                "/auto /etc/auto.icecore --timeout=300\n\
                 back -fstype=fuse.icecore,passphrase-file=/etc/icecore/passphrase,allow_other \
                 :/backup",
            ),
        ],
    },
    Section {
        heading: "SIGNALS AND FAULTS",
        parts: &[
            Part::Text(
                "SIGINT, SIGTERM and SIGHUP unmount, in the background too: at once where nobody \
                 uses the mount, else as soon as they are done. A second signal takes it off the \
                 tree all the same, and who uses it is served to the end. icecore never unmounts by \
                 itself: what cannot be read is an I/O error for the one who reads it, and is read \
                 again when it is asked for again. Where the process was killed, icecore umount \
                 takes off what is left, and so does the next icecore mount on that mountpoint. A \
                 process that was killed while it put pages into the kernel\'s cache cannot end, and \
                 who reads waits for it; both commands then end the connection, upon which readers \
                 get an error. They tell that from /proc (Linux 6.16 and later); else, and for a \
                 process that hangs, icecore umount --force does it.",
            ),
            Part::Text(
                "A mountpoint must lie outside of the repository, and the repository outside of it. \
                 An ingest that meets a mount of the repository it writes to takes the mountpoint as \
                 an empty directory and says so; snapshots on such a mount are refused as sources, \
                 but can be ingested into another repository.",
            ),
        ],
    },
    Section {
        heading: "NETWORK SHARES",
        parts: &[
            Part::Text(
                "A mount can be shared by NFS and Samba; both need --allow-other. Tried with \
                 nfs-ganesha 4.3 (FSAL VFS, NFS 3 and 4) and Samba 4.17 of Debian 12. The kernel's \
                 NFS server was not tried; what it asks of a file system was: handles that are opened \
                 again after a remount (open_by_handle_at(2)). It needs fsid= in /etc/exports, since \
                 a mount has no device that names it:",
            ),
            Part::Code("/mnt/back 192.0.2.0/24(ro,fsid=77,no_subtree_check,no_root_squash)"),
            Part::Text("The same for nfs-ganesha, and a share of Samba:"),
            Part::Code(
                "EXPORT { Export_Id = 77; Path = /mnt/back; Pseudo = /back; Access_Type = RO; \
                 Filesystem_id = 77.77; FSAL { Name = VFS; } }\n\
                 [back]\n\
                 path = /mnt/back\n\
                 read only = yes",
            ),
            Part::Text(
                "Inode numbers are the same after a remount, and the generation is always 0. A \
                 client's handle stays good whatever the server's memory forgets, and over remounts: \
                 that of a regular file, of a snapshot's root and of what is above the snapshots at \
                 once; that of another directory or a file with hard links is looked for in the \
                 trees, newest snapshot first and for at most 20 seconds (about a million entries), \
                 before it is stale (ESTALE). The last 32,768 of these that the kernel forgot are \
                 remembered. Handles of what is in versions/ and diff/ only are good while they are \
                 in the server's memory; clients find it again by its name. Unmounting waits for the \
                 server, which holds the mount: unexport it first.",
            ),
        ],
    },
];

/// Sections of icecore-umount(1).
pub(crate) const UMOUNT: &[Section] = &[Section {
    heading: "WHO USES IT",
    parts: &[
        Part::Text(
            "A process uses a mount by its working directory, its root, the program that it runs, \
             an open file or a mapped one; another mount below it counts too. They are told from \
             /proc, without asking the mount. Nothing there tells of the kernel's own users: a loop \
             device, an overlay, the NFS server.",
        ),
        Part::Text(
            "--force ends the connection between the kernel and the process that serves: whatever is \
             read then, and all that is open, fails (ENOTCONN, ECONNABORTED), and the mount is off \
             the tree. As root it takes the system call that umount -f takes; a plain user needs \
             /sys/fs/fuse/connections, which systemd mounts.",
        ),
        Part::Text(
            "With --json the error has users (pid, uid, user, command, uses with how and path), \
             mounts, and others_unseen where processes of other users could not be looked into.",
        ),
    ],
}];
