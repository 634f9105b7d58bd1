# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_icecore_global_optspecs
    string join \n r/repository= key-file= passphrase-file= passphrase-command= cache-dir= no-cache limit-upload= limit-download= q/quiet json v/verbose h/help V/version
end

function __fish_icecore_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_icecore_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_icecore_using_subcommand
    set -l cmd (__fish_icecore_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c icecore -n "__fish_icecore_needs_command" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_needs_command" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_needs_command" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_needs_command" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_needs_command" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_needs_command" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_needs_command" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_needs_command" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_needs_command" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_needs_command" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_needs_command" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_needs_command" -s V -l version -d 'Print version'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "init" -d 'Make a repository'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "ingest" -d 'Take a snapshot of files and directories'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "backup" -d 'Take a snapshot of files and directories'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "snapshots" -d 'List snapshots'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "mount" -d 'Show all snapshots as directories'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "umount" -d 'Unmount what icecore mounted'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "restore" -d 'Restore a snapshot, or a path of one, to a directory'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "ls" -d 'List what a snapshot holds'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "find" -d 'Find files by name in all snapshots'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "cat" -d 'Write files of a snapshot to standard output'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "diff" -d 'Tell what differs between two snapshots'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "stats" -d 'Tell what the repository, or one snapshot, holds and costs'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "forget" -d 'Let snapshots go: by name, or by rules that say what to keep'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "tag" -d 'Change the tags of snapshots'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "protect" -d 'Keep snapshots whatever comes: no rule and no name forgets them'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "unprotect" -d 'Let rules and names forget snapshots again'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "verify" -d 'Prove that what is stored can be read'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "prune" -d 'Give back the space of what no snapshot needs'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "replicate" -d 'Copy snapshots into another repository, only what is missing there'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "parity" -d 'Tell, set and build the parity that heals damaged packs'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "ledger" -d 'Show what was verified when, with what result'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "repair" -d 'Put right what is damaged, as far as that can be done'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "strategy" -d 'Check and explain the strategy file'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "drill" -d 'Restore a whole stack on trial, and prove that it works'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "run" -d 'Carry the strategy out: do what is due'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "status" -d 'Tell which targets of the strategy are met'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "report" -d 'Write what complies with the strategy, and how it came to be so'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "schedule" -d 'Have icecore run called regularly'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "key" -d 'List, add, remove and change the keys of a repository'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "completions" -d 'Print the completions of a shell'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "man" -d 'Write the man pages and completions'
complete -c icecore -n "__fish_icecore_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand init" -l label -d 'Words that tell the first key from others [default: user@host]' -r
complete -c icecore -n "__fish_icecore_using_subcommand init" -l chunk-size -d 'Average size of the chunks that files are cut into by content, 4K to 4M; each has a quarter of it to four times as much. Cannot be changed later' -r
complete -c icecore -n "__fish_icecore_using_subcommand init" -l parity -d 'Parity for each pack, in percent of it, 0.1% to 100%: damage up to that share heals by itself. `icecore parity` changes it later' -r
complete -c icecore -n "__fish_icecore_using_subcommand init" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand init" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand init" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand init" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand init" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand init" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand init" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand init" -l plain -d 'No encryption: whoever can read the folder can read the backups'
complete -c icecore -n "__fish_icecore_using_subcommand init" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand init" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand init" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand init" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -s C -l directory -d 'Start relative paths in DIR, and show them relative to the snapshot\'s root' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l files-from -d 'File of further paths, one per line or ended by NUL; - is standard input' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l stdin -d 'Take standard input as one file of this name; under the same name next time, only what changed is stored' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l command -d 'Take the output of the command after -- as one file of this name; no snapshot if it fails' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -s e -l exclude -d 'Leave out what fits a pattern, as in gitignore: *.tmp anywhere, /srv/cache from the root' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l exclude-from -d 'File of such patterns' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l exclude-if-present -d 'Leave out the other entries of directories that hold an entry NAME' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l exclude-larger-than -d 'Leave out larger files, like 500M or 2GiB' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l tag -d 'A word to find the snapshot by; may be given several times' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l host -d 'Host that the sources belong to [default: this one]' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l time -d 'Time of the snapshot instead of now, like 2026-11-22T15:04:05' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l compression -d 'off, fast, a zstd level from 1 to 19, or max' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l chunker -d 'How files are cut into chunks: auto (as each one\'s content asks for), cdc (by content), fixed or fixed:SIZE, database (64 KiB), tensor. With another than last time, files that are read again are stored again' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l threads -d 'Threads that compress; twice as many read [default: one per processor]' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l max-memory -d 'Most memory to use, at least 240M; with less, fewer threads. Long chunks need more' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l session-timeout -d 'After how long without a sign of life a prune takes this ingest for dead' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l nice -d 'Give way to other programs on the processor, 0 to 19; see nice(1)' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l exclude-caches -d 'Leave out caches: directories with a CACHEDIR.TAG'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l no-ignore-files -d 'Do not heed .icecoreignore files'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -s x -l one-file-system -d 'Take mount points of other file systems as empty directories'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -s n -l dry-run -d 'Only tell what would be read'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -s f -l force -d 'Read every file, whatever the last snapshot says'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l with-atime -d 'Store access times too; the directories of files that were read then differ each time'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l ignore-inode -d 'Do not compare inode numbers with the last snapshot: for network file systems'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l ignore-ctime -d 'Do not compare times of inode change with the last snapshot'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l raw-sqlite -d 'Store SQLite databases as the files they are; without this they are captured through SQLite, consistent while they are written to, and their -wal, -shm and -journal are left out'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l no-delta -d 'Store every new chunk by itself, not as what differs from the last version of its file'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l io-idle -d 'Use the disk only when nobody else does; see ionice(1). Needs an I/O scheduler that heeds it'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand ingest" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -s C -l directory -d 'Start relative paths in DIR, and show them relative to the snapshot\'s root' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l files-from -d 'File of further paths, one per line or ended by NUL; - is standard input' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l stdin -d 'Take standard input as one file of this name; under the same name next time, only what changed is stored' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l command -d 'Take the output of the command after -- as one file of this name; no snapshot if it fails' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -s e -l exclude -d 'Leave out what fits a pattern, as in gitignore: *.tmp anywhere, /srv/cache from the root' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l exclude-from -d 'File of such patterns' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l exclude-if-present -d 'Leave out the other entries of directories that hold an entry NAME' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l exclude-larger-than -d 'Leave out larger files, like 500M or 2GiB' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l tag -d 'A word to find the snapshot by; may be given several times' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l host -d 'Host that the sources belong to [default: this one]' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l time -d 'Time of the snapshot instead of now, like 2026-11-22T15:04:05' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l compression -d 'off, fast, a zstd level from 1 to 19, or max' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l chunker -d 'How files are cut into chunks: auto (as each one\'s content asks for), cdc (by content), fixed or fixed:SIZE, database (64 KiB), tensor. With another than last time, files that are read again are stored again' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l threads -d 'Threads that compress; twice as many read [default: one per processor]' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l max-memory -d 'Most memory to use, at least 240M; with less, fewer threads. Long chunks need more' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l session-timeout -d 'After how long without a sign of life a prune takes this ingest for dead' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l nice -d 'Give way to other programs on the processor, 0 to 19; see nice(1)' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l exclude-caches -d 'Leave out caches: directories with a CACHEDIR.TAG'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l no-ignore-files -d 'Do not heed .icecoreignore files'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -s x -l one-file-system -d 'Take mount points of other file systems as empty directories'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -s n -l dry-run -d 'Only tell what would be read'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -s f -l force -d 'Read every file, whatever the last snapshot says'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l with-atime -d 'Store access times too; the directories of files that were read then differ each time'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l ignore-inode -d 'Do not compare inode numbers with the last snapshot: for network file systems'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l ignore-ctime -d 'Do not compare times of inode change with the last snapshot'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l raw-sqlite -d 'Store SQLite databases as the files they are; without this they are captured through SQLite, consistent while they are written to, and their -wal, -shm and -journal are left out'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l no-delta -d 'Store every new chunk by itself, not as what differs from the last version of its file'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l io-idle -d 'Use the disk only when nobody else does; see ionice(1). Needs an I/O scheduler that heeds it'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l forgotten -d 'Those that were forgotten, and no others'
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand snapshots" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l snapshot -d 'Show one snapshot, or a directory of one, at the root of the mount' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l uid -d 'Show everything as owned by this user, number or name' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l gid -d 'Show everything as owned by this group, number or name' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l cache -d 'Memory for decoded blocks [default: a quarter of the memory, at most 1G]' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l threads -d 'Threads that answer the kernel' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l log -d 'File that takes messages of the background process, like damage that was met' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l source-name -d 'What the table of mounts shows as the source' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand mount" -s f -l foreground -d 'Stay in the foreground until unmounted; tells systemd when it is ready'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l map-owner -d 'Show owners by name where this system knows the name, instead of by number'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l allow-other -d 'Let other users look too, as far as modes and ACLs let them'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l noexec -d 'Let nobody run programs from it'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l power-saving -d 'Let idle processors sleep deeply while the mount is read, which makes small files slower'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l no-export -d 'Give out no file handles: not for NFS, but for overlays (see OVERLAYS)'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l print-unit -d 'Mount nothing: print a systemd unit that does it with these options'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l background -d 'The process that serves: its secret comes from standard input'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand mount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand umount" -l wait -d 'Wait at most so long until nobody uses it, like 30s or 10min' -r
complete -c icecore -n "__fish_icecore_using_subcommand umount" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand umount" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand umount" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand umount" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand umount" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand umount" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand umount" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand umount" -s z -l lazy -d 'Take it off the tree, after the wait if --wait is given, else now; it ends when the last who uses it is done'
complete -c icecore -n "__fish_icecore_using_subcommand umount" -s f -l force -d 'Fail whatever is waited for on it, and take it off now: for a mount that does not answer'
complete -c icecore -n "__fish_icecore_using_subcommand umount" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand umount" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand umount" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand umount" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand umount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l to -d 'What becomes a copy of the path; made where only it is missing' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l threads -d 'Threads that write [default: one per processor]' -r
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand restore" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand restore" -s n -l dry-run -d 'Only tell what would be done'
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l verify -d 'Compare the content of what looks right too, and read everything back at the end'
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l delete -d 'Remove what the snapshot does not have'
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l owner-names -d 'Take owners by name where this system knows the name, instead of by number'
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand restore" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand restore" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand restore" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand ls" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand ls" -s l -l long -d 'Mode, links, owner, size and time too'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -s n -l numeric -d 'Owners by number'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -s 0 -l print0 -d 'Raw names ended by NUL, for xargs -0'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -s R -l recursive -d 'List everything below, by full path'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -s d -l directory -d 'List a directory itself instead of its entries'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand find" -s s -l snapshot -d 'Search here only; may be given several times' -r
complete -c icecore -n "__fish_icecore_using_subcommand find" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand find" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand find" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand find" -s k -l type -d 'Only entries of this kind; may be given several times' -r -f -a "f\t'Regular files'
d\t'Directories'
l\t'Symbolic links'
p\t'Named pipes'
s\t'Sockets'
c\t'Character devices'
b\t'Block devices'"
complete -c icecore -n "__fish_icecore_using_subcommand find" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand find" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand find" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand find" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand find" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand find" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand find" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand find" -s i -l ignore-case -d 'Upper and lower case are the same'
complete -c icecore -n "__fish_icecore_using_subcommand find" -s a -l every -d 'Each snapshot that holds an entry, not only each version once'
complete -c icecore -n "__fish_icecore_using_subcommand find" -s l -l long -d 'Mode, links, owner, size and time too'
complete -c icecore -n "__fish_icecore_using_subcommand find" -s n -l numeric -d 'Owners by number'
complete -c icecore -n "__fish_icecore_using_subcommand find" -s 0 -l print0 -d 'Raw names ended by NUL, for xargs -0'
complete -c icecore -n "__fish_icecore_using_subcommand find" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand find" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand find" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand find" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand find" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand cat" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand cat" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand cat" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand cat" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand cat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand diff" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l stat -d 'Sums only: how many files and bytes were added, removed and changed'
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l name-only -d 'Paths only'
complete -c icecore -n "__fish_icecore_using_subcommand diff" -s 0 -l print0 -d 'Raw paths ended by NUL, for xargs -0'
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand diff" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand diff" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand diff" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand diff" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand stats" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l snapshots -d 'A line for each snapshot'
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand stats" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand stats" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand stats" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l group-by -d 'What snapshots of a group have in common: any of host, tags and sources, or none' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l time-zone -d 'Time zone of days, weeks and so on, like Europe/Berlin [default: the system\'s]' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-last -d 'The newest N snapshots; N may be "unlimited", here and below' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-minutely -d 'The newest of each of the last N minutes that have one' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-hourly -d 'The newest of each of the last N hours that have one' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-daily -d 'The newest of each of the last N days that have one' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-weekly -d 'The newest of each of the last N weeks that have one; they begin on Monday' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-monthly -d 'The newest of each of the last N months that have one' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-quarterly -d 'The newest of each of the last N quarters of a year that have one' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-yearly -d 'The newest of each of the last N years that have one' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-within -d 'All that are less than that older than the newest' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-within-minutely -d 'The newest of each minute within that span' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-within-hourly -d 'The newest of each hour within that span' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-within-daily -d 'The newest of each day within that span' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-within-weekly -d 'The newest of each week within that span' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-within-monthly -d 'The newest of each month within that span' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-within-quarterly -d 'The newest of each quarter of a year within that span' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-within-yearly -d 'The newest of each year within that span' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l keep-tag -d 'Those with this tag; with all of several that commas part' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l unsafe-allow-remove-all -d 'Let rules forget all snapshots of a group'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l undo -d 'Bring these back: what was forgotten and is not pruned yet'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l prune -d 'Give the space back as well, as icecore-prune(1) does without options'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -s n -l dry-run -d 'Only tell what would be forgotten, and why the rest stays'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -s y -l yes -d 'Do not ask'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l add -d 'Add this tag' -r
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l remove -d 'Remove this tag' -r
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l set -d 'Have this tag and no other than those of further --set and --add; "" for none' -r
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand tag" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand tag" -s n -l dry-run -d 'Only tell what the tags would be'
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand tag" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand tag" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand tag" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand tag" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand protect" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand protect" -s n -l dry-run -d 'Only tell what would change'
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand protect" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand protect" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand protect" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand protect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -s n -l dry-run -d 'Only tell what would change'
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand unprotect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l sample -d 'Read a random part of the packs, so many percent of their bytes' -r
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l seed -d 'Choose the sample by this number [default: another one each time]' -r
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l older-than -d 'Read packs whose last verification is older than this, like 30d or 12h, or that have none' -r
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l max-duration -d 'Begin to read no pack after so long' -r
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l max-rate -d 'Read at most so many bytes a second, like 200M' -r
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l threads -d 'Threads that read [default: one per processor]' -r
complete -c icecore -n "__fish_icecore_using_subcommand verify" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l structure -d 'Check the structure only, which is the default'
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l read-data -d 'Read every stored byte'
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l no-record -d 'Record nothing in the ledger'
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l no-heal -d 'Leave damaged packs as they are, also where parity could heal them'
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand verify" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand verify" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand verify" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l max-unused -d 'How much of the stored bytes may stay unused' -r
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l max-repack -d 'Most bytes of packs to write anew [default: as many as it takes]' -r
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l grace -d 'How long readers may go on with what will be deleted, and an hour more since clocks may differ; 0 refuses while any session lives' -r
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l session-timeout -d 'After how long without a sign of life a session counts as dead: no shorter than any writer\'s' -r
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l compression -d 'How hard to compress what is coded again' -r
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l nice -d 'Give way to other programs on the processor, 0 to 19; see nice(1)' -r
complete -c icecore -n "__fish_icecore_using_subcommand prune" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand prune" -s n -l dry-run -d 'Show what would be done, and change nothing'
complete -c icecore -n "__fish_icecore_using_subcommand prune" -s y -l yes -d 'Do not ask'
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l io-idle -d 'Use the disk only when nobody else does; see ionice(1). Needs an I/O scheduler that heeds it'
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand prune" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand prune" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand prune" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l to -d 'Folder of the repository to copy to, or its name in the strategy file [default: each replica of that file\'s sources, of which what it lacks is copied]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l file -d 'The strategy file' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l to-key-file -d 'Key file of the repository to copy to [default: the same secret]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l to-passphrase-file -d 'File that holds its passphrase' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l to-passphrase-command -d 'Command, run by sh, that prints its passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l host -d 'Only snapshots of this host' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l tag -d 'Only snapshots with this tag; several times: with all of them' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l source -d 'Only snapshots with this path among their sources' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l compression -d 'How hard to compress what is coded again: directories, and blocks of which a part is needed' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l threads -d 'Threads that copy [default: one per processor]' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l nice -d 'Give way to other programs on the processor, 0 to 19; see nice(1)' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l init -d 'Make the other repository where there is none: with the same chunk sizes and, where this one is encrypted, under the same master key. Its secret is that of --to-key-file and the like, else the same'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l continuous -d 'Stay, and copy snapshots as they appear; ends at SIGTERM'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l verify -d 'Read back all that is new there before a copy is committed'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -s n -l dry-run -d 'Only tell what would be copied'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l io-idle -d 'Use the disk only when nobody else does; see ionice(1). Needs an I/O scheduler that heeds it'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand replicate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l set -d 'Share of each new pack, 0.1% to 100%' -r
complete -c icecore -n "__fish_icecore_using_subcommand parity" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l off -d 'No parity for new packs'
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l build -d 'Build it for packs that have none, and anew where it is damaged or of a lower share'
complete -c icecore -n "__fish_icecore_using_subcommand parity" -s n -l dry-run -d 'Only tell what would be set and built'
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand parity" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand parity" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand parity" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand parity" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -f -a "verify" -d 'Hold each record against what those after it state of it'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and not __fish_seen_subcommand_from verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Hold each record against what those after it state of it'
complete -c icecore -n "__fish_icecore_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -f -a "packs" -d 'Heal damaged and lost packs, and do without those that nobody has'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -f -a "index" -d 'Build the index anew from the packs'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -f -a "snapshots" -d 'Tell which snapshots cannot be read, and put right what a replica has'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and not __fish_seen_subcommand_from packs index snapshots help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l from -d 'Folder of another repository that may have what this one lost, opened with the same key' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -s y -l yes -d 'Do not ask'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l forget -d 'Mark snapshots that lost content as forgotten once they have a successor'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from packs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -s y -l yes -d 'Do not ask'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -l force -d 'Write a new index though the old one is sound'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from index" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -l from -d 'Folder of a replica' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -s n -l dry-run -d 'Show what would be done, and do nothing'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -s y -l yes -d 'Do not ask'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from snapshots" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from help" -f -a "packs" -d 'Heal damaged and lost packs, and do without those that nobody has'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from help" -f -a "index" -d 'Build the index anew from the packs'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from help" -f -a "snapshots" -d 'Tell which snapshots cannot be read, and put right what a replica has'
complete -c icecore -n "__fish_icecore_using_subcommand repair; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -f -a "check" -d 'Say what is wrong with the file, and what it means'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -f -a "coverage" -d 'Name what no source covers'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and not __fish_seen_subcommand_from check coverage help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -l file -d 'The strategy file' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -l file -d 'The strategy file' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from coverage" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from help" -f -a "check" -d 'Say what is wrong with the file, and what it means'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from help" -f -a "coverage" -d 'Name what no source covers'
complete -c icecore -n "__fish_icecore_using_subcommand strategy; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l from -d 'Restore from this repository of the strategy' -r
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l snapshot -d 'Restore this snapshot instead of the newest of each source' -r
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l file -d 'The strategy file' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand drill" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l keep -d 'Start the services once more at the end, and let them run until interrupted'
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand drill" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand drill" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand drill" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand drill" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand run" -l file -d 'The strategy file' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand run" -l source -d 'Ingest this source now, copy its snapshots and apply its keep; nothing else' -r
complete -c icecore -n "__fish_icecore_using_subcommand run" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand run" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand run" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand run" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand run" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand run" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand run" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand run" -l due -d 'Do what is due, which is the default'
complete -c icecore -n "__fish_icecore_using_subcommand run" -s n -l dry-run -d 'Only tell what is due, and why'
complete -c icecore -n "__fish_icecore_using_subcommand run" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand run" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand run" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand run" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand status" -l file -d 'The strategy file' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand status" -l host -d 'Host whose sources the strategy\'s are [default: this one]' -r
complete -c icecore -n "__fish_icecore_using_subcommand status" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand status" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand status" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand status" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand status" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand status" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand status" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand status" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand status" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand status" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand status" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand report" -l file -d 'The strategy file' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand report" -l html -d 'Write the page there' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand report" -l json-file -d 'Write everything as JSON there; --json FILE does the same' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand report" -l prometheus -d 'Write the figures in Prometheus\' text format there' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand report" -l since -d 'How far back histories go' -r
complete -c icecore -n "__fish_icecore_using_subcommand report" -l host -d 'Host whose sources the strategy\'s are [default: this one]' -r
complete -c icecore -n "__fish_icecore_using_subcommand report" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand report" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand report" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand report" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand report" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand report" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand report" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand report" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand report" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand report" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand report" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand report" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l file -d 'The strategy file' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l unit -d 'Name of the units' -r
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l systemd -d 'Write units for systemd, which is the default'
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l user -d 'Units of your own service manager, not the system\'s'
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l print -d 'Only show the units, and a line for crontab(5) for where there is no systemd'
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l remove -d 'Take the units away'
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand schedule" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -f -a "list" -d 'List the key slots; an asterisk marks what opened the repository now'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -f -a "add" -d 'Add a slot for another passphrase or key file'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -f -a "remove" -d 'Remove a slot; the last one stays'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -f -a "passwd" -d 'Replace the key in use by another one'
complete -c icecore -n "__fish_icecore_using_subcommand key; and not __fish_seen_subcommand_from list add remove passwd help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l new-key-file -d 'File whose whole contents are the new key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l new-passphrase-file -d 'File that holds the new passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l label -d 'Words that tell it from others [default: user@host]' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -s n -l dry-run -d 'Show which slot that is, and change nothing'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Do not ask'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l new-key-file -d 'File whose whole contents are the new key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l new-passphrase-file -d 'File that holds the new passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l label -d 'Words that tell it from others [default: user@host]' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from passwd" -s h -l help -d 'Print help'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the key slots; an asterisk marks what opened the repository now'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a slot for another passphrase or key file'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove a slot; the last one stays'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "passwd" -d 'Replace the key in use by another one'
complete -c icecore -n "__fish_icecore_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand completions" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand completions" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand completions" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand completions" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand completions" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand completions" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand completions" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand completions" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand completions" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand completions" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand completions" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand man" -l out -d 'Folder to write all of them to [default: icecore.1 to standard output]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand man" -s r -l repository -d 'Folder of the repository' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand man" -l key-file -d 'File whose whole contents are the key; at least 16 bytes' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand man" -l passphrase-file -d 'File that holds the passphrase; a newline at its end does not count' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand man" -l passphrase-command -d 'Command, run by sh, that prints the passphrase' -r
complete -c icecore -n "__fish_icecore_using_subcommand man" -l cache-dir -d 'Folder for opened index segments [default: ~/.cache/icecore]' -r -F
complete -c icecore -n "__fish_icecore_using_subcommand man" -l limit-upload -d 'Write to the repository at most so many bytes a second, like 20M' -r
complete -c icecore -n "__fish_icecore_using_subcommand man" -l limit-download -d 'Read from the repository at most so many bytes a second' -r
complete -c icecore -n "__fish_icecore_using_subcommand man" -l no-cache -d 'Keep nothing on this machine: index segments are opened anew each time'
complete -c icecore -n "__fish_icecore_using_subcommand man" -s q -l quiet -d 'Print data and errors only: no progress, no reports in words'
complete -c icecore -n "__fish_icecore_using_subcommand man" -l json -d 'Print the report as JSON; errors too, on standard error'
complete -c icecore -n "__fish_icecore_using_subcommand man" -s v -l verbose -d 'Log more to standard error; twice or three times for more still'
complete -c icecore -n "__fish_icecore_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "init" -d 'Make a repository'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "ingest" -d 'Take a snapshot of files and directories'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "snapshots" -d 'List snapshots'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "mount" -d 'Show all snapshots as directories'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "umount" -d 'Unmount what icecore mounted'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "restore" -d 'Restore a snapshot, or a path of one, to a directory'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "ls" -d 'List what a snapshot holds'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "find" -d 'Find files by name in all snapshots'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "cat" -d 'Write files of a snapshot to standard output'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "diff" -d 'Tell what differs between two snapshots'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "stats" -d 'Tell what the repository, or one snapshot, holds and costs'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "forget" -d 'Let snapshots go: by name, or by rules that say what to keep'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "tag" -d 'Change the tags of snapshots'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "protect" -d 'Keep snapshots whatever comes: no rule and no name forgets them'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "unprotect" -d 'Let rules and names forget snapshots again'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "verify" -d 'Prove that what is stored can be read'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "prune" -d 'Give back the space of what no snapshot needs'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "replicate" -d 'Copy snapshots into another repository, only what is missing there'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "parity" -d 'Tell, set and build the parity that heals damaged packs'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "ledger" -d 'Show what was verified when, with what result'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "repair" -d 'Put right what is damaged, as far as that can be done'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "strategy" -d 'Check and explain the strategy file'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "drill" -d 'Restore a whole stack on trial, and prove that it works'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "run" -d 'Carry the strategy out: do what is due'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "status" -d 'Tell which targets of the strategy are met'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "report" -d 'Write what complies with the strategy, and how it came to be so'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "schedule" -d 'Have icecore run called regularly'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "key" -d 'List, add, remove and change the keys of a repository'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "completions" -d 'Print the completions of a shell'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "man" -d 'Write the man pages and completions'
complete -c icecore -n "__fish_icecore_using_subcommand help; and not __fish_seen_subcommand_from init ingest snapshots mount umount restore ls find cat diff stats forget tag protect unprotect verify prune replicate parity ledger repair strategy drill run status report schedule key completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "verify" -d 'Hold each record against what those after it state of it'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from repair" -f -a "packs" -d 'Heal damaged and lost packs, and do without those that nobody has'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from repair" -f -a "index" -d 'Build the index anew from the packs'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from repair" -f -a "snapshots" -d 'Tell which snapshots cannot be read, and put right what a replica has'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from strategy" -f -a "check" -d 'Say what is wrong with the file, and what it means'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from strategy" -f -a "coverage" -d 'Name what no source covers'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "list" -d 'List the key slots; an asterisk marks what opened the repository now'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "add" -d 'Add a slot for another passphrase or key file'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "remove" -d 'Remove a slot; the last one stays'
complete -c icecore -n "__fish_icecore_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "passwd" -d 'Replace the key in use by another one'
