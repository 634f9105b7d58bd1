"""Running commands and measuring them.

A measurement has
  wall_s        of the command alone                 sync_s  what a sync took after it (tools differ
  cpu_s         user and system, of the process              in whether they wait for the disk)
                and all its children                 rss_mb  peak of the largest process
  syscpu_s      busy time of the whole machine       rc, err, timeout  how it ended
  disk_read_mb, disk_write_mb  of the whole machine
A command starts as a copy of this process, so no rss_mb is below this one's, about 25 MB.
"""
import contextlib, fcntl, os, signal, subprocess, tempfile, threading, time

TICKS = os.sysconf("SC_CLK_TCK")


def can_drop_caches():
    return not os.environ.get("BENCH_WARM") and os.access("/proc/sys/vm/drop_caches", os.W_OK)


@contextlib.contextmanager
def quiet_machine():
    """Holds a lock on the file $BENCH_LOCK, if that is set."""
    path = os.environ.get("BENCH_LOCK")
    with open(path or os.devnull, "a") as lock:
        if path:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def drop_caches():
    """Forgets cached files, so that what follows reads from the disk. Without root: does nothing."""
    if can_drop_caches():
        os.sync()
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3")


def _machine_busy():
    """Seconds that the cores were busy since the machine started."""
    with open("/proc/stat") as f:
        ticks = [int(x) for x in f.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS


def _disk_mb():
    """MB read from and written to all disks since the machine started."""
    read = written = 0
    with open("/proc/diskstats") as f:
        for line in f:
            v = line.split()
            virtual = v[2].startswith(("loop", "ram", "dm-"))
            if not virtual and not os.path.exists(f"/sys/class/block/{v[2]}/partition"):
                read += int(v[5])
                written += int(v[9])
    return read * 512 / 1e6, written * 512 / 1e6


class Meter:
    """with Meter() as m: …; then m.figures."""

    def __enter__(self):
        self.busy, self.disk, self.start = _machine_busy(), _disk_mb(), time.perf_counter()
        return self

    def __exit__(self, *_):
        wall = time.perf_counter() - self.start
        disk = _disk_mb()
        self.figures = {"wall_s": round(wall, 4), "syscpu_s": round(_machine_busy() - self.busy, 2),
                        "disk_read_mb": round(disk[0] - self.disk[0], 1), "disk_write_mb": round(disk[1] - self.disk[1], 1)}


def kill_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _wait(process, timeout):
    """Waits, and kills at the time limit. Returns (exit code, resource usage, whether it was killed)."""
    late = []

    def stop():
        late.append(True)
        kill_group(process)
    timer = threading.Timer(timeout, stop)
    timer.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        kill_group(process)
        raise
    finally:
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage, bool(late)


def run(argv, env=None, cwd=None, timeout=3600):
    """Runs a command to its end and measures it. What it prints is dropped, but for errors."""
    with tempfile.TemporaryFile() as errors:
        with Meter() as meter:
            process = subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=errors, start_new_session=True)
            code, usage, late = _wait(process, timeout)
        start = time.perf_counter()
        if can_drop_caches():  # what the next command starts from
            os.sync()
        result = {**meter.figures, "cpu_s": round(usage.ru_utime + usage.ru_stime, 2), "user_s": round(usage.ru_utime, 2),
                  "rss_mb": round(usage.ru_maxrss / 1024, 1), "sync_s": round(time.perf_counter() - start, 2), "rc": code}
        if late:
            result["timeout"] = True
        if code:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 400))
            result["err"] = errors.read().decode(errors="replace").strip()
    return result


def stored(path):
    """Files and apparent bytes below path; hard links count once."""
    files = size = 0
    seen, stack = set(), [path] if os.path.isdir(path) else []
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                if status.st_nlink > 1 and status.st_ino in seen:
                    continue
                seen.add(status.st_ino)
                files += 1
                size += 0 if entry.is_symlink() else status.st_size
    return files, size
