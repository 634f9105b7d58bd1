"""A corpus: a live tree, and deltas that carry it to any of its steps and back.

A corpus directory holds
  live/      the tree that is backed up (same path and same inodes for what is unchanged)
  fwd/NNN/   what turns step NNN-1 into step NNN
  rev/NNN/   what turns step NNN back into step NNN-1
  meta.json  description, number of the last step, sizes, the big file if there is one
  cur        the step that the live tree is at
  moving     the step that it was on its way to, if that was interrupted
  ok         present once all of it is built
A delta holds files/ (whole files, replaced by unlink and create), delta.json (deletions,
directories, patched ranges) and patch.bin (4 KiB blocks written in place into large files).

So every tool sees the same sequence of snapshots at the same path.
"""
import json, os, shutil, stat, subprocess

BIG = 32 << 20  # bytes; files from this size on are patched in place
BLOCK = 4096
READ = 1 << 20


def walk(root):
    """Every entry below root: {relative path: lstat}."""
    found = {}
    stack = [""]
    while stack:
        folder = stack.pop()
        with os.scandir(os.path.join(root, folder) if folder else root) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                status = entry.stat(follow_symlinks=False)
                found[path] = status
                if stat.S_ISDIR(status.st_mode):
                    stack.append(path)
    return found


def tree_stats(root):
    """Numbers of files and directories below root, and the bytes of its regular files."""
    modes = [(s.st_mode, s.st_size) for s in walk(root).values()]
    dirs = sum(stat.S_ISDIR(m) for m, _ in modes)
    return {"files": len(modes) - dirs, "dirs": dirs, "bytes": sum(n for m, n in modes if stat.S_ISREG(m))}


def _same_content(a, b):
    if os.path.islink(a):
        return os.readlink(a) == os.readlink(b)
    with open(a, "rb") as fa, open(b, "rb") as fb:
        while True:
            x, y = fa.read(READ), fb.read(READ)
            if x != y:
                return False
            if not x:
                return True


def _differing_blocks(old, new):
    """Yields (offset, bytes) of new's blocks that differ from old's."""
    with open(old, "rb") as fo, open(new, "rb") as fn:
        start = 0
        while n := fn.read(READ):
            o = fo.read(READ)
            if n != o:
                for i in range(0, len(n), BLOCK):
                    if n[i:i + BLOCK] != o[i:i + BLOCK]:
                        yield start + i, n[i:i + BLOCK]
            start += len(n)


class _Delta:
    """One delta while it is written: see write_delta."""

    def __init__(self, old, new, dest):
        self.old, self.new, self.dest = old, new, dest
        self.patches, self.dirs = [], []
        self.files = self.bytes = 0
        shutil.rmtree(dest, ignore_errors=True)
        os.makedirs(f"{dest}/files")

    def patch(self, path, status, blob):
        ranges = []
        for offset, block in _differing_blocks(f"{self.old}/{path}", f"{self.new}/{path}"):
            if ranges and sum(ranges[-1]) == offset:
                ranges[-1][1] += len(block)
            else:
                ranges.append([offset, len(block)])
            blob.write(block)
            self.bytes += len(block)
        self.files += 1
        self.patches.append([path, status.st_size, status.st_mtime_ns, ranges])

    def whole(self, path, status):
        target = f"{self.dest}/files/{path}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _copy(f"{self.new}/{path}", target, status)
        self.files += 1
        self.bytes += status.st_size

    def entry(self, path, new, old, blob):
        kind = stat.S_IFMT(new.st_mode)
        same_kind = old is not None and stat.S_IFMT(old.st_mode) == kind
        if kind == stat.S_IFDIR:
            if not same_kind or old.st_mtime_ns != new.st_mtime_ns:
                self.dirs.append([path, new.st_mode & 0o7777, new.st_mtime_ns, new.st_uid, new.st_gid])
            return
        if same_kind:
            same_form = (old.st_size, old.st_mode) == (new.st_size, new.st_mode)
            if same_form and old.st_mtime_ns == new.st_mtime_ns:
                return
            if same_form and _same_content(f"{self.old}/{path}", f"{self.new}/{path}"):
                times = (old.st_mtime_ns, old.st_mtime_ns)
                os.utime(f"{self.new}/{path}", ns=times, follow_symlinks=False)
                return
            if kind == stat.S_IFREG and min(new.st_size, old.st_size) >= BIG:
                self.patch(path, new, blob)
                return
        self.whole(path, new)


def write_delta(old, new, dest):
    """Writes the delta that turns tree `old` into tree `new`. Returns what it changes."""
    before, after = walk(old), walk(new)
    deleted = [path for path in sorted(before, reverse=True)
               if path not in after or stat.S_IFMT(after[path].st_mode) != stat.S_IFMT(before[path].st_mode)]
    delta = _Delta(old, new, dest)
    with open(f"{dest}/patch.bin", "wb") as blob:
        for path in sorted(after):
            delta.entry(path, after[path], before.get(path), blob)
    with open(f"{dest}/delta.json", "w") as out:
        json.dump({"patches": delta.patches, "dirs": delta.dirs, "deleted": deleted}, out)
    return {"changed_files": delta.files, "changed_bytes": delta.bytes, "deleted": len(deleted)}


def _copy(source, target, status):
    """Copies a file or symbolic link with times and owner."""
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
        os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)
    else:
        shutil.copy2(source, target)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)


def _delete(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _apply_patches(patches, blob, live):
    for path, size, mtime, ranges in patches:
        fd = os.open(f"{live}/{path}", os.O_WRONLY)
        for offset, length in ranges:
            while length:
                piece = blob.read(min(length, READ))
                os.pwrite(fd, piece, offset)
                offset += len(piece)
                length -= len(piece)
        os.ftruncate(fd, size)
        os.close(fd)
        os.utime(f"{live}/{path}", ns=(mtime, mtime))


def apply_delta(folder, live):
    with open(f"{folder}/delta.json") as f:
        delta = json.load(f)
    for path in delta["deleted"]:
        _delete(f"{live}/{path}")
    for path, *_ in delta["dirs"]:
        os.makedirs(f"{live}/{path}", exist_ok=True)
    for path, status in walk(f"{folder}/files").items():
        if not stat.S_ISDIR(status.st_mode):
            os.makedirs(os.path.dirname(f"{live}/{path}"), exist_ok=True)
            _delete(f"{live}/{path}")
            _copy(f"{folder}/files/{path}", f"{live}/{path}", status)
    with open(f"{folder}/patch.bin", "rb") as blob:
        _apply_patches(delta["patches"], blob, live)
    for path, mode, mtime, uid, gid in sorted(delta["dirs"], reverse=True):
        os.chmod(f"{live}/{path}", mode)
        os.chown(f"{live}/{path}", uid, gid)
        os.utime(f"{live}/{path}", ns=(mtime, mtime))


def _put(path, text):
    with open(path, "w") as f:
        f.write(text)


def _move(corpus, at, to):
    """Moves to a neighbouring step. One that was interrupted is done again, before all else."""
    _put(f"{corpus}/moving", str(to))
    apply_delta(f"{corpus}/fwd/{to:03d}" if to > at else f"{corpus}/rev/{at:03d}", f"{corpus}/live")
    _put(f"{corpus}/cur", str(to))
    os.unlink(f"{corpus}/moving")
    return to


def goto(corpus, step):
    """Brings the live tree of the corpus directory to `step`."""
    with open(f"{corpus}/cur") as f:
        at = int(f.read())
    moving = f"{corpus}/moving"
    if os.path.exists(moving):
        with open(moving) as f:
            at = _move(corpus, at, int(f.read()))
    while at != step:
        at = _move(corpus, at, at + 1 if at < step else at - 1)


class Builder:
    """Builds a corpus step by step: change `live`, then commit(); finish() at the end."""

    def __init__(self, corpus, description, links=False):
        """links: every change unlinks and recreates, so that hard links can keep the previous step."""
        self.corpus, self.description, self.links = corpus, description, links
        self.live, self.prev = f"{corpus}/live", f"{corpus}/prev"
        self.steps = []
        shutil.rmtree(corpus, ignore_errors=True)
        os.makedirs(self.live)

    def write(self, path, data, mtime):
        """Puts a file, by unlink and create, below live."""
        target = f"{self.live}/{path}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        _delete(target)
        with open(target, "wb") as f:
            f.write(data)
        os.utime(target, (mtime, mtime))

    def commit(self):
        number = f"{len(self.steps):03d}"
        changes = {}
        if self.steps:
            changes = write_delta(self.prev, self.live, f"{self.corpus}/fwd/{number}")
            write_delta(self.live, self.prev, f"{self.corpus}/rev/{number}")
            apply_delta(f"{self.corpus}/fwd/{number}", self.prev)
        else:
            how = "-l" if self.links else "--sparse=never"
            subprocess.run(["cp", "-a", how, self.live, self.prev], check=True)
        self.steps.append({**tree_stats(self.live), **changes})

    def finish(self, **meta):
        shutil.rmtree(self.prev)
        last = len(self.steps) - 1
        _put(f"{self.corpus}/cur", str(last))
        goto(self.corpus, 0)
        meta.update(description=self.description, last=last, steps=self.steps)
        _put(f"{self.corpus}/meta.json", json.dumps(meta, indent=1))
        _put(f"{self.corpus}/ok", "ok\n")
