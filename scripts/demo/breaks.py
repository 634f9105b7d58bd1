"""The strategy of the drill demo, and the ways in which what it backs up can be broken."""
import dataclasses, glob, os, shutil, subprocess, time

import stack as stacks

REPOSITORIES = """time-zone = "UTC"
[repositories.local]
url = "{work}/repo"
media = "disk"
key-file = "{work}/key"
[repositories.far]
url = "{work}/far"
media = "object"
offsite = true
key-file = "{work}/key"

[targets]
copies = 2
media = 2
offsite = 1
"""

SOURCES = """
[sources.models]
paths = ["{root}/models"]
[sources.registry]
paths = ["{root}/mlflow"]
[sources.features]
postgres = {{ connection = "{server}" }}
[sources.cache]
redis = {{ address = "127.0.0.1:{redis}" }}
[sources.code]
paths = ["{root}/app", "{root}/config", "{root}/golden", "{root}/venv"]
[sources.stack]
group = {{ members = ["registry", "models", "features", "cache", "code"] }}
repository = "local"
replicas = ["far"]
every = "1h"
rpo = "2h"
keep = {{ last = 7, daily = 30 }}
"""

DRILL = """
[drills.{name}]
mode = "{mode}"
timeout = "5min"
targets = {{ rto = "60s", rpo = "{rpo}" }}
[drills.{name}.components]
{components}
[drills.{name}.services.postgres]
run = ["{bin}/postgres", "-D", "{root}/pg", "-c", "recovery_init_sync_method=syncfs"]
user = "postgres"
ready = {{ command = "{bin}/pg_isready -q -h 127.0.0.1 -p {database}", within = "30s" }}
stop-signal = "INT"
[drills.{name}.services.redis]
run = ["/usr/bin/redis-server", "{root}/config/redis.conf"]
ready = {{ command = "redis-cli -p {redis} ping | grep -q PONG", within = "10s" }}
[drills.{name}.services.api]
run = ["{root}/venv/bin/python", "-m", "uvicorn", "--app-dir", "{root}/app", "--host", "127.0.0.1", "--port", "{api}", "app:app"]
environment = {{ DEMO_ROOT = "{root}", DEMO_PORT = "{port}", MLFLOW_DISABLE_TELEMETRY = "true", PYTHONDONTWRITEBYTECODE = "1" }}
after = ["postgres", "redis"]
ready = {{ http = "http://127.0.0.1:{api}{probe}", within = "{ready}" }}
[drills.{name}.services.web]
run = ["/usr/sbin/nginx", "-c", "{root}/config/nginx.conf"]
after = ["api"]
ready = {{ http = "http://127.0.0.1:{port}/healthz", within = "10s" }}
{checks}"""

CHECKS = """
[[drills.{name}.checks]]
name = "every byte of the models"
manifest = "models"
[[drills.{name}.checks]]
name = "every byte of the registry"
manifest = "registry"
[[drills.{name}.checks]]
name = "registry is a sound database"
structure = "{root}/mlflow/*.db"
[[drills.{name}.checks]]
name = "weights are whole"
structure = "{root}/mlflow/**/*.safetensors"
[[drills.{name}.checks]]
name = "the model is whole"
structure = "{root}/models/**/*.onnx"
[[drills.{name}.checks]]
name = "users are there"
sql = {{ postgres = "{connection}", query = "select count(*) from features", min = {rows} }}
[[drills.{name}.checks]]
name = "clicks and events agree"
sql = {{ postgres = "{connection}", query = "select -abs((select sum(clicks) from features) - (select coalesce(sum(clicks), 0) from events))", min = 0 }}
[[drills.{name}.checks]]
name = "features are fresh"
sql = {{ postgres = "{connection}", query = "select extract(epoch from max(updated_at)) from features", fresh = "5min" }}
[[drills.{name}.checks]]
name = "the cache has users"
command = ["/bin/sh", "-c", "n=$(redis-cli -p {redis} dbsize) && echo $n keys in Redis && test $n -ge 1000"]
[[drills.{name}.checks]]
name = "golden answers"
golden = {{ file = "{root}/golden/requests.jsonl", url = "http://127.0.0.1:{port}/rank", tolerance = 1e-5 }}
"""

SAMPLE = """
[drills.interpreter]
mode = "copy"
components.venv = {{ source = "stack", path = "{root}/venv", at = "{root}/venv", sample = "5%" }}
checks = [{{ manifest = "venv" }}]
"""

PARTS = ("models", "mlflow", "pg", "redis", "app", "config", "golden", "venv")
NAMES = {"mlflow": "registry", "pg": "features", "redis": "cache"}  # folders whose component has another name


def _drill(stack, name, mode, replaced, rpo="2h", probe="/healthz", ready="60s"):
    """replaced: {folder: (source, path in its snapshot)} for parts that do not come from the stack's snapshot."""
    fields = dict(name=name, mode=mode, root=stack.root, port=stack.port, redis=stack.port + 1, database=stack.port + 2,
                  api=stack.port + 3, connection=stack.database, rows=stack.rows, bin=stacks.POSTGRES, rpo=rpo, probe=probe, ready=ready)
    parts = {part: replaced.get(part, ("stack", f"{stack.root}/{part}")) for part in PARTS}
    components = [f'{NAMES.get(part, part)} = {{ source = "{source}", path = "{path}", at = "{stack.root}/{part}" }}'
                  for part, (source, path) in parts.items()]
    return DRILL.format(components="\n".join(components), checks=CHECKS.format(**fields), **fields)


def _base(stack, work, sources="", repo="repo"):
    fields = dict(work=work, root=stack.root, redis=stack.port + 1, server=f"host=127.0.0.1 port={stack.port + 2} user=postgres")
    return (REPOSITORIES + SOURCES).format(**fields).replace(f"{work}/repo", f"{work}/{repo}") + sources


def strategy(stack, work):
    return _base(stack, work) + _drill(stack, "serving", "instant", {}) + _drill(stack, "serving-copy", "copy", {}) + SAMPLE.format(root=stack.root)


@dataclasses.dataclass
class Break:
    title: str
    names: str  # what the drill must say, as a regular expression
    prepare: object  # function of the demo: the path of the strategy to drill


def _write(demo, name, text):
    path = f"{demo.work}/{name}.toml"
    with open(path, "w") as f:
        f.write(text)
    return path


def _flipped_bit(demo):
    """One bit in the pack that holds the weights."""
    copy, model = f"{demo.work}/flipped", f"{demo.stack.root}/models/minilm-int8.onnx"
    shutil.copytree(f"{demo.work}/repo", copy)
    access = ("-r", copy, "--key-file", f"{demo.work}/key", "cat", f"latest:{model}")
    packs = sorted(glob.glob(f"{copy}/data/*/*"), key=os.path.getsize, reverse=True)
    for pack in packs:
        with open(pack, "r+b") as f:
            middle = os.path.getsize(pack) // 2
            for bit in (1, 0):
                f.seek(middle)
                byte = f.read(1)[0] ^ 1
                f.seek(middle)
                f.write(bytes([byte]))
                f.flush()
                if bit and _cat_fails(demo, access):
                    return _write(demo, "flipped", _base(demo.stack, demo.work, repo="flipped") + _drill(demo.stack, "serving", "instant", {}))
    raise SystemExit("demo: no pack holds the middle of the weights")


def _cat_fails(demo, access):
    return subprocess.run([demo.icecore, *access], env=demo.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0


def _replaced(demo, name, part, **drill):
    """A drill in which one part comes from a source of plain files, captured now."""
    folder = f"{demo.work}/{name}/{part}"
    source = f'\n[sources.{name}]\npaths = ["{folder}"]\nrepository = "local"\n'
    file = _write(demo, name, _base(demo.stack, demo.work, source) + _drill(demo.stack, "serving", "instant", {part: (name, folder)}, **drill))
    demo.call("run", "--source", name, ICECORE_STRATEGY=file)
    return file


def _naive_postgres(demo):
    """The data directory file by file while the server writes: indexes first, tables a second later."""
    target, source = f"{demo.work}/naive/pg", f"{demo.stack.root}/pg"
    os.makedirs(f"{demo.work}/naive")
    shutil.copytree(f"{source}/base", f"{target}/base", ignore_dangling_symlinks=True)
    time.sleep(3)
    demo.stack.checkpoint()
    subprocess.run(["cp", "-a", "--no-clobber", f"{source}/.", target], check=False, stderr=subprocess.DEVNULL)
    subprocess.run(["chown", "-R", "postgres:", target], check=True)
    os.chmod(target, 0o700)
    if os.path.exists(f"{target}/postmaster.pid"):
        os.remove(f"{target}/postmaster.pid")
    return _replaced(demo, "naive", "pg")


def _redis_without_log(demo):
    target = f"{demo.work}/rdb/redis"
    os.makedirs(target)
    demo.stack.save_rdb()
    shutil.copy(f"{demo.stack.root}/redis/dump.rdb", target)
    return _replaced(demo, "rdb", "redis")


def _missing_artifact(demo):
    target = f"{demo.work}/incomplete/mlflow"
    shutil.copytree(f"{demo.stack.root}/mlflow", target)
    for path in glob.glob(f"{target}/**/ranker.safetensors", recursive=True):
        os.remove(path)
    return _replaced(demo, "incomplete", "mlflow", ready="30s")


def _changed_config(demo):
    target = f"{demo.work}/tuned/config"
    shutil.copytree(f"{demo.stack.root}/config", target)
    with open(f"{target}/app.toml") as f:
        text = f.read()
    with open(f"{target}/app.toml", "w") as f:
        f.write(text.replace("0.125", "0.250"))
    return _replaced(demo, "tuned", "config")


def _stale(demo):
    time.sleep(2)
    return _write(demo, "stale", _base(demo.stack, demo.work) + _drill(demo.stack, "serving", "instant", {}, rpo="1s"))


def _never_ready(demo):
    return _write(demo, "silent", _base(demo.stack, demo.work) + _drill(demo.stack, "serving", "instant", {}, probe="/nowhere", ready="5s"))


BREAKS = (
    Break("one bit of the weights flipped", r"minilm-int8\.onnx", _flipped_bit),
    Break("a naive copy of PostgreSQL's data directory", r"users are there|clicks and events agree|service postgres", _naive_postgres),
    Break("Redis without its append-only log", r"the cache has users", _redis_without_log),
    Break("a model artifact that is missing", r"ranker\.safetensors|weights are whole", _missing_artifact),
    Break("a changed configuration", r"golden answers", _changed_config),
    Break("a snapshot that is too old", r"(?i)rpo", _stale),
    Break("a service that never gets ready", r"service api is not ready", _never_ready),
)
