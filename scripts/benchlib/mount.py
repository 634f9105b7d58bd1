"""The suite of reads through mounts, of a repository that holds all steps of a corpus. Tools take
turns within each repetition; every cold read has a fresh mount and dropped caches:

  mount     start of the mount process until the newest tree lists
  find      every entry's name and status        tar, tar_warm  all of the tree, and the same again
  cp        cp -a of the tree to the local disk  cat, cat_warm  the big file, and the same again
  randread  4 KiB reads of the big file at random, one at a time
  diff      diff -r of the newest two trees, where a tool shows both
  restore   the tool's own restore, beside cp

Beside the tools stand two that are none: squashfs of the newest tree, by the kernel's own driver,
and the tree itself on the disk that it lies on.
"""
import contextlib, glob, os, random, shutil, subprocess, sys, tempfile, time

from . import measure
from .repository import Repository

READ = 1 << 20
RANDOM_S = 5  # seconds of random reads
READY_S = 120  # seconds in which a mount has to list


class MountFailed(Exception):
    """Says how."""


def _is_mounted(path):
    """Also told of a bind mount, which os.path.ismount does not see."""
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == os.path.realpath(path) for line in f)


def _processes(root):
    """A process and all below it."""
    pids = [root]
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as f:
                    pids += map(int, f.read().split())
    return pids


def _usage(root):
    """Peak RSS and CPU seconds of a mount process that still runs, with its children."""
    peak, cpu = 0, 0.0
    for pid in _processes(root):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/status") as f:
                peak = max([peak, *(int(line.split()[1]) for line in f if line.startswith("VmHWM"))])
            with open(f"/proc/{pid}/stat") as f:
                v = f.read().rsplit(")", 1)[1].split()
            cpu += (int(v[11]) + int(v[12])) / measure.TICKS
    return {"mount_rss_mb": round(peak / 1024, 1), "mount_cpu_s": round(cpu, 2)}


class Mount:
    """One mount of a repository, in the foreground."""

    def __init__(self, repository, limit):
        """limit: seconds until the tree has to list."""
        self.repository = repository
        self.tree = repository.command([repository.tool.tree])[0]
        self.errors = tempfile.TemporaryFile()
        with measure.Meter() as meter:
            self.process = subprocess.Popen(
                repository.command(repository.tool.mount), env=repository.environment(), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=self.errors, start_new_session=True)
            ready = self._wait(limit)
        self.figures = meter.figures
        if not ready:
            self.errors.seek(0)
            why = self.errors.read()[-400:].decode(errors="replace").strip()
            self.close()
            raise MountFailed(why or f"the tree did not list within {limit:.0f} s")

    def _wait(self, limit):
        end = time.monotonic() + limit
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                if _is_mounted(self.repository.mnt) and os.listdir(self.tree):
                    return True
            time.sleep(0.002)
        return False

    def close(self):
        """Unmounts. Returns what the mount process used."""
        used = _usage(self.process.pid)
        argv = self.repository.command(self.repository.tool.umount)
        for _ in range(20):
            if not _is_mounted(self.repository.mnt):
                break
            subprocess.run(argv, env=self.repository.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", self.repository.mnt])
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            measure.kill_group(self.process)
            self.process.wait()
        self.errors.close()
        return used


def _cat(path, limit):
    """Reads a file once, in pieces of 1 MiB."""
    size, end = 0, time.monotonic() + limit
    with measure.Meter() as meter, open(path, "rb", buffering=0) as f:
        while (piece := f.read(READ)) and time.monotonic() < end:
            size += len(piece)
    late = {"timeout": True} if piece else {}
    return {**meter.figures, "bytes": size, "mb_s": round(size / 1e6 / meter.figures["wall_s"], 1), **late}


def _random_reads(path):
    """4 KiB reads, each waiting for the one before."""
    rng, pages, times = random.Random(7), os.path.getsize(path) // 4096, []
    with measure.Meter() as meter, open(path, "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        end = time.monotonic() + RANDOM_S
        while (start := time.monotonic()) < end:
            os.pread(f.fileno(), 4096, rng.randrange(pages) * 4096)
            times.append(time.monotonic() - start)
    times.sort()
    return {**meter.figures, "iops": round(len(times) / meter.figures["wall_s"], 1),
            "p50_us": round(times[len(times) // 2] * 1e6, 1), "p99_us": round(times[len(times) * 99 // 100] * 1e6, 1)}


class Suite:
    """One corpus, with the tools that still work on it."""

    def __init__(self, corpus, tools, options, log):
        self.corpus, self.options, self.log = corpus, options, log
        self.repositories = [Repository(tool, corpus, options.timeout) for tool in tools]
        self.last = min(corpus.last, options.steps)
        self.expected = corpus.meta["steps"][self.last]

    def _record(self, repository, op, figures, rep):
        cold = not op.endswith("_warm") and measure.can_drop_caches()
        self.log.measured(self.corpus.name, repository.tool.name, op, figures, rep=rep, cold=cold)

    def _fail(self, repository, during, why):
        self.log.measured(self.corpus.name, repository.tool.name, "failed", {"err": why}, during=during)
        self.repositories.remove(repository)

    def prepare(self):
        """Repositories with all steps; not measured."""
        for repository in list(self.repositories):
            if repository.fresh()["rc"]:
                self._fail(repository, "init", "init failed")
        for step in range(self.last + 1):
            self.corpus.goto(step)
            for repository in list(self.repositories):
                result = repository.ingest()
                if not repository.is_done(result):
                    self._fail(repository, "ingest", result.get("err") or "time limit")

    def _copied(self, repository, figures):
        """Adds whether all of the tree came back, and clears the place."""
        figures["files"], figures["bytes"] = measure.stored(repository.dest)
        figures["complete"] = (figures["files"], figures["bytes"]) == (self.expected["files"], self.expected["bytes"])
        shutil.rmtree(repository.dest)
        os.makedirs(repository.dest)
        return figures

    def _reads(self, repository):
        """The reads: {op: function of the tree, which returns figures, cold ones first}."""
        limit, big = self.options.timeout, self.corpus.big
        tar = ["sh", "-c", "tar c . | cat >/dev/null"]
        reads = {
            "find": lambda tree: [measure.run(["sh", "-c", "find . -size +1c | wc -l"], cwd=tree, timeout=limit)],
            "tar": lambda tree: [measure.run(tar, cwd=tree, timeout=limit), measure.run(tar, cwd=tree, timeout=limit)],
            "cp": lambda tree: [self._copied(repository, measure.run(["cp", "-a", f"{tree}/.", repository.dest], timeout=limit))],
        }
        if repository.tool.trees and len(repository.labels) > 1:
            reads["diff"] = lambda tree: [measure.run(["diff", "-r", *self._newest_two(repository)], timeout=limit)]
        if big:
            reads["cat"] = lambda tree: [_cat(f"{tree}/{big}", limit), _cat(f"{tree}/{big}", limit)]
            reads["randread"] = lambda tree: [_random_reads(f"{tree}/{big}")]
        return reads

    def _newest_two(self, repository):
        """The trees, as the mount shows them, of the newest snapshot and the one before."""
        pattern = repository.command([repository.tool.trees])[0]
        return sorted(glob.glob(pattern))[-2:]

    def _read(self, repository, op, read, rep):
        measure.drop_caches()
        mount = Mount(repository, min(self.options.timeout, READY_S))
        try:
            measure.drop_caches()
            found = read(mount.tree)
        finally:
            used = mount.close()
        for name, figures in zip((op, f"{op}_warm"), found):
            self._record(repository, name, {**figures, **used}, rep)

    def _round(self, repository, rep):
        measure.drop_caches()
        mount = Mount(repository, min(self.options.timeout, READY_S))
        figures = mount.figures
        self._record(repository, "mount", {**figures, **mount.close()}, rep)
        for op, read in self._reads(repository).items():
            self._read(repository, op, read, rep)
        measure.drop_caches()
        restored = repository.run(repository.tool.restore, cwd=repository.work)
        self._record(repository, "restore", self._copied(repository, restored), rep)

    def run(self):
        try:
            self.prepare()
            for rep in range(self.options.reps):
                for repository in list(self.repositories):
                    try:
                        self._round(repository, rep)
                    except (MountFailed, OSError) as why:
                        self._fail(repository, "mount", str(why)[-400:])
        finally:
            for repository in self.repositories:
                if _is_mounted(repository.mnt):
                    subprocess.run(["umount", "-l", repository.mnt])
                if not self.options.keep:
                    repository.remove()
        if not self.repositories:
            print(f"bench: {self.corpus.name}: no tool got through", file=sys.stderr)
