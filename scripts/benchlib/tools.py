"""How each tool is driven. Encryption is on for all, compression is each tool's default or zstd 3.

Arguments are templates; the fields are
  {repo}  a folder of the tool's own (empty before init)     {live}  the tree to back up
  {mnt}   an empty directory to mount on                     {label} label of the snapshot to make
  {dest}  an empty directory to restore into                 {last}  label of the newest snapshot
Repositories are at {repo}/r, so that caches beside it do not count as stored.
"""
import dataclasses, glob, os, re, shlex, shutil, subprocess

from .real import BENCH

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
PATH = ":".join([f"{BENCH}/bin", f"{BENCH}/cargo/bin", f"{BENCH}/venv/bin", os.environ.get("PATH", "")])
OWN = re.compile(r"^(ICECORE|RESTIC|BORG|RUSTIC)_")


@dataclasses.dataclass(frozen=True)
class Tool:
    """One way to make and read backups. Commands are lists of templates, run from `live`."""
    name: str
    binary: str
    env: dict
    init: list
    ingest: list
    mount: list  # stays in the foreground
    tree: str  # the newest snapshot's tree: once it lists, the mount is ready
    restore: list
    version: list
    umount: tuple = ("umount", "{mnt}")
    done: tuple = (0,)  # exit codes of a complete ingest
    forget: tuple = ()  # all but the newest {keep} snapshots; none of the three: the tool has no life to show
    prune: tuple = ()
    verify: tuple = ()
    trees: str = ""  # pattern of the trees of all snapshots, oldest first; none: they are not compared

    def command(self, template, **fields):
        return [self.binary if part is BINARY else part.format(**fields) for part in template]

    def environment(self, repo):
        """Nothing of the caller's own repositories and keys gets in."""
        env = {k: v for k, v in os.environ.items() if not OWN.match(k)}
        return {**env, "PATH": PATH, **{k: v.format(repo=repo) for k, v in self.env.items()}}

    def version_text(self):
        out = subprocess.run(self.command(self.version), env={**os.environ, "PATH": PATH}, capture_output=True, text=True)
        return (out.stdout or out.stderr).strip().split("\n")[0][:80]


BINARY = object()  # stands for the binary in templates


def restic(name, binary):
    return Tool(
        name, binary,
        env={"RESTIC_REPOSITORY": "{repo}/r", "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": "{repo}/cache"},
        init=[BINARY, "init", "-q", "--repository-version", "2"],
        ingest=[BINARY, "backup", "-q", "--compression", "auto", "."],
        mount=[BINARY, "mount", "{mnt}"],
        tree="{mnt}/snapshots/latest",
        restore=[BINARY, "restore", "-q", "latest", "--target", "{dest}"],
        forget=(BINARY, "forget", "-q", "--keep-last", "{keep}"),
        prune=(BINARY, "prune", "-q"),
        verify=(BINARY, "check", "-q", "--read-data"),
        version=[BINARY, "version"])


def borg(name, binary):
    return Tool(
        name, binary,
        env={"BORG_BASE_DIR": "{repo}/base", "BORG_PASSPHRASE": "x", "BORG_REPO": "{repo}/r",
             "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"},
        init=[BINARY, "init", "-e", "repokey-blake2"],
        ingest=[BINARY, "create", "--compression", "zstd,3", "::{label}", "."],
        mount=[BINARY, "mount", "-f", "::", "{mnt}"],
        tree="{mnt}/{last}",
        restore=["sh", "-c", 'cd "$1" && exec "$0" extract "::$2"', BINARY, "{dest}", "{last}"],
        forget=(BINARY, "prune", "--keep-last", "{keep}"),
        prune=(BINARY, "compact"),
        verify=(BINARY, "check", "--verify-data"),
        version=[BINARY, "--version"],
        done=(0, 1))  # 1: done with warnings


def rustic(name, binary):
    return Tool(
        name, binary,
        env={"RUSTIC_REPOSITORY": "{repo}/r", "RUSTIC_PASSWORD": "x", "RUSTIC_CACHE_DIR": "{repo}/cache",
             "RUSTIC_NO_PROGRESS": "true", "RUSTIC_LOG_LEVEL": "warn", "HOME": "{repo}"},
        init=[BINARY, "init"],
        ingest=[BINARY, "backup", "."],
        mount=[BINARY, "mount", "{mnt}", "latest"],
        tree="{mnt}",
        restore=[BINARY, "restore", "latest", "{dest}"],
        forget=(BINARY, "forget", "--keep-last", "{keep}"),
        prune=(BINARY, "prune", "--instant-delete"),
        verify=(BINARY, "check", "--read-data"),
        version=[BINARY, "--version"])


def icecore(name, binary, extra=(), plain=False):
    """extra: further arguments of ingest. A plain repository must be given no passphrase."""
    env = {"ICECORE_REPOSITORY": "{repo}/r", "XDG_CACHE_HOME": "{repo}/cache"}
    return Tool(
        name, binary,
        env=env if plain else {**env, "ICECORE_PASSPHRASE": "x"},
        init=[BINARY, "init", *(["--plain"] if plain else []), "{repo}/r"],
        ingest=[BINARY, "ingest", "--quiet", *extra, "{live}"],
        mount=[BINARY, "mount", "--foreground", "{mnt}"],
        tree="{mnt}/latest{live}",
        trees="{mnt}/snapshots/*{live}",
        umount=(BINARY, "umount", "{mnt}"),
        restore=[BINARY, "restore", "--quiet", "latest:{live}", "--to", "{dest}"],
        forget=(BINARY, "forget", "--quiet", "--yes", "--keep-last", "{keep}"),
        prune=(BINARY, "prune", "--quiet", "--yes", "--grace", "0"),
        verify=(BINARY, "verify", "--quiet", "--read-data"),
        version=[BINARY, "--version"])


def _served(mount):
    """The command line of a mount by the kernel that stays until it is unmounted."""
    return ["sh", "-c", f'{mount} && while mountpoint -q "$2"; do sleep 0.05; done', "mount"]


def squashfs(name, binary):
    """No backup tool: what the kernel's own compressed file system reaches, of the last tree alone."""
    return Tool(
        name, binary, env={}, init=["true"],
        ingest=[BINARY, ".", "{repo}/r", "-noappend", "-comp", "zstd", "-Xcompression-level", "3", "-quiet", "-no-progress"],
        mount=[*_served('mount -o loop,ro "$1" "$2"'), "{repo}/r", "{mnt}"],
        tree="{mnt}",
        restore=["unsquashfs", "-quiet", "-no-progress", "-force", "-dest", "{dest}", "{repo}/r"],
        version=[BINARY, "-version"])


def source(name):
    """No backup tool: the corpus itself, read-only, on the file system that it lies on."""
    return Tool(
        name, "mount", env={}, init=["true"], ingest=["true"],
        mount=[*_served('mount -o bind,ro "$1" "$2" && mount -o remount,bind,ro "$2"'), "{live}", "{mnt}"],
        tree="{mnt}",
        restore=["cp", "-a", "{live}/.", "{dest}"],
        version=["uname", "-r"])


class Missing(Exception):
    """A tool cannot be had; says why."""


def _newest(pattern):
    """The newest of `NAME-VERSION` in $BENCH_DIR/bin."""
    versions = [(list(map(int, re.findall(r"\d+", os.path.basename(p)))), p) for p in glob.glob(f"{BENCH}/bin/{pattern}")]
    return max(versions)[1] if versions else None


def _peer(name):
    found = _newest(f"{name}-[0-9]*") or shutil.which(name, path=PATH)
    if not found:
        raise Missing("not installed; scripts/bench --install gets it")
    return found


def icecore_binary():
    """$ICECORE, or the release build of this project, which is made when it is missing."""
    named = os.environ.get("ICECORE")
    if named:
        if not os.access(named, os.X_OK):
            raise Missing(f"ICECORE={named} is no program")
        return os.path.abspath(named)
    target = os.environ.get("CARGO_TARGET_DIR") or f"{PROJECT}/target"
    binary = f"{target}/release/icecore"
    if not os.path.exists(binary):
        try:
            done = subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=PROJECT)
        except FileNotFoundError:
            raise Missing("cargo is not installed (see https://rustup.rs), or name a binary in ICECORE") from None
        if done.returncode:
            raise Missing("cargo build --release failed")
    return os.path.abspath(binary)


NAMES = ("icecore", "restic", "rustic", "borg")  # the default, in the order of reports
ALL = NAMES + ("icecore-plain",)
REFERENCES = ("squashfs", "source")  # beside the mounts: no backup tools, but what they are held against


def find(name, variants):
    """A tool by name; `variants` are further arguments of icecore's ingest by name."""
    if name in variants:
        return icecore(name, icecore_binary(), shlex.split(variants[name]))
    if name == "icecore":
        return icecore(name, icecore_binary())
    if name == "icecore-plain":
        return icecore(name, icecore_binary(), plain=True)
    if name == "source":
        return source(name)
    if name == "squashfs":
        return squashfs(name, _peer("mksquashfs"))
    return {"restic": restic, "rustic": rustic, "borg": borg}[name](name, _peer(name))
