"""Which corpus is which, at which scale, and building what is not there yet.

Corpora are in $BENCH_DIR/corpora/<scale>/<C>; what is there with its `ok` is used as it is.
"""
import contextlib, fcntl, json, os, shutil, subprocess, sys

from . import deltas, real, synthetic

BENCH = real.BENCH
SCALES = ("tiny", "small", "full")
TITLES = {"C1": "source history", "C2": "model weights", "C3": "databases", "C4": "one big file", "C5": "tiny files"}
BUILD = {
    ("C1", "tiny"): lambda b: synthetic.source(b, 60, 3),
    ("C2", "tiny"): lambda b: synthetic.weights(b, 4, 64, 3),
    ("C3", "tiny"): lambda b: synthetic.database(b, 800, 3),
    ("C4", "tiny"): lambda b: synthetic.disk_image(b, 4 << 20, 3),
    ("C5", "tiny"): lambda b: synthetic.tiny_files(b, 4, 50, 3),
    ("C1", "small"): lambda b: synthetic.source(b, 3000, 4),
    ("C2", "small"): lambda b: synthetic.weights(b, 24, 384, 5),
    ("C3", "small"): lambda b: synthetic.database(b, 60_000, 3),
    ("C4", "small"): lambda b: synthetic.disk_image(b, 128 << 20, 3),
    ("C5", "small"): lambda b: synthetic.tiny_files(b, 20, 500, 3),
    ("C1", "full"): lambda b: real.source(b, 10),
    ("C2", "full"): lambda b: real.weights(b, 5),
    ("C3", "full"): lambda b: real.database(b, 5),
    ("C4", "full"): lambda b: real.disk_image(b, 4 << 30, 5),
    ("C5", "full"): lambda b: synthetic.tiny_files(b, 500, 1000, 5),
}
IN_PLACE = ("C3", "C4")  # their files are changed where they are, so hard links cannot keep a step


class Corpus:
    """A built corpus."""

    def __init__(self, name, scale):
        self.name, self.scale = name, scale
        self.path = f"{BENCH}/corpora/{scale}/{name}"
        self.live = f"{self.path}/live"
        with open(f"{self.path}/meta.json") as f:
            self.meta = json.load(f)
        self.last = self.meta["last"]
        self.big = self.meta.get("big")

    def goto(self, step):
        deltas.goto(self.path, step)


@contextlib.contextmanager
def exclusive(name, scale):
    """One user of a corpus at a time: its live tree is moved between steps."""
    folder = f"{BENCH}/corpora/{scale}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{name}.lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"bench: {name} at scale {scale} is in use by another run: waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_built(name, scale):
    return os.path.exists(f"{BENCH}/corpora/{scale}/{name}/ok")


def build(name, scale):
    """Builds a corpus, in this process. Raises real.MissingInput or ImportError where inputs lack.

    It gets its name when it is complete. What bears the name without being complete is another's.
    """
    path = f"{BENCH}/corpora/{scale}/{name}"
    if os.path.exists(path):
        raise real.MissingInput(f"{path} out of the way: it is not complete (no `ok` in it)")
    builder = deltas.Builder(f"{path}.building", f"{TITLES[name]}: synthetic", name not in IN_PLACE)
    try:
        BUILD[name, scale](builder)
        os.rename(builder.corpus, path)
    finally:
        shutil.rmtree(builder.corpus, ignore_errors=True)


def ensure(name, scale, entry):
    """Builds a corpus unless it is there. Returns what went wrong, or None.

    A process of its own does it, through the script `entry`: what a measured command inherits at its
    start counts as its memory, so this process has to stay small. For the full scale that is the
    Python of the installed environment, where there is one.
    """
    if is_built(name, scale):
        return None
    print(f"bench: building corpus {name} at scale {scale}", file=sys.stderr, flush=True)
    python = f"{BENCH}/venv/bin/python"
    if scale != "full" or not os.path.exists(python):
        python = sys.executable
    built = subprocess.run([python, entry, "corpora", "--scale", scale, "--corpus", name], stderr=subprocess.PIPE, text=True)
    reason = (built.stderr.strip().splitlines() or ["no reason given"])[-1]
    return None if built.returncode == 0 else reason.removeprefix("bench: ")
