"""All of scripts/bench on tiny corpora, with icecore alone, in seconds. For scripts/test.

It also shows that what is missing is named, that deltas lead there and back, that a report can be
made of an interrupted run's lines, and that the plot is XML.
"""
import hashlib, json, os, shutil, subprocess, sys, tempfile
import xml.etree.ElementTree as xml

from . import deltas, report, tools
from .results import load


def _digest(root):
    """Of all names, kinds, times and contents below root."""
    digest = hashlib.sha256()
    for path, status in sorted(deltas.walk(root).items()):
        digest.update(f"{path} {status.st_mode} {status.st_mtime_ns if not os.path.isdir(f'{root}/{path}') else ''}\n".encode())
        if os.path.isfile(f"{root}/{path}"):
            with open(f"{root}/{path}", "rb") as f:
                digest.update(f.read())
    return digest.digest()


def _check(condition, what):
    if not condition:
        raise SystemExit(f"bench: self-test: {what}")


def _interrupt(corpus):
    """Leaves a corpus at step 0 as if it had been stopped on its way to step 1, then repairs it."""
    deltas.apply_delta(f"{corpus}/fwd/001", f"{corpus}/live")
    with open(f"{corpus}/moving", "w") as f:
        f.write("1")
    deltas.goto(corpus, 0)


def _check_deltas(folder):
    """Steps are the same whenever they are come back to, also after an interruption on the way."""
    for name in sorted(n for n in os.listdir(folder) if not n.endswith(".lock")):
        corpus = f"{folder}/{name}"
        seen = {}
        for step in (0, 1, 2, 1, 0, 2, 0):
            deltas.goto(corpus, step)
            if step == 0:
                _interrupt(corpus)
            now = _digest(f"{corpus}/live")
            _check(seen.setdefault(step, now) == now, f"{name}: step {step} differs when it is come back to")
        _check(len(set(seen.values())) == 3, f"{name}: a step changes nothing")


def _check_ingest(out):
    with open(f"{out}/ingest-tiny.jsonl", "a") as f:
        f.write('{"half a li')
    results = load(out)[0]
    _check(results.corpora == ["C1", "C2", "C3", "C4", "C5"], f"corpora {results.corpora}")
    _check(not results.failed, f"failed: {results.failed}")
    for corpus in results.corpora:
        for op in ("first", "changed", "nochange_warm", "nochange_cold", "size"):
            expected = {"changed": 2, "size": 3}.get(op, 1)
            _check(len(results.of(corpus, "icecore", op)) == expected, f"{corpus}: {op} is not there {expected} times")
        _check(results.median(corpus, "floor", "floor_tar"), f"{corpus}: no floor")
        _check(results.of(corpus, "icecore", "size")[0]["repo_mb"] > 0, f"{corpus}: nothing stored")
    _check("not installed" in results.missing().get("restic", ""), "a missing tool is not named")


def _check_lifecycle(out, text):
    results = next(r for r in load(out) if r.suite == "lifecycle")
    _check(not results.failed, f"failed: {results.failed}")
    expected = {"ingest": 30, "forget": 3, "prune": 3, "size": 3, "verify": 1, "restore": 1, "restore_fresh": 1, "cp": 1, "cp_fresh": 1}
    for op, count in expected.items():
        _check(len(results.of("C1", "icecore", op)) == count, f"lifecycle: {op} is not there {count} times")
    _check("what age costs" in text, "the report of the lifecycle is not whole")


def _check_readme(folder, out):
    """A suite's section is made anew, and all else stays."""
    kept = "<!-- bench:mount:begin -->\nof another day\n<!-- bench:mount:end -->\n"
    os.makedirs(folder)
    with open(f"{folder}/README.md", "w") as f:
        f.write(f"before\n<!-- bench:ingest:begin -->\nold\n<!-- bench:ingest:end -->\n{kept}")
    report.readme(out, folder)
    with open(f"{folder}/README.md") as f:
        text = f.read()
    _check(text.startswith("before\n") and text.endswith(kept) and "\nold\n" not in text, "README.md around the section")
    _check("| C5 tiny files: first, s |" in text, "no ingest in README.md")
    kept_files = sorted(os.listdir(f"{folder}/scripts/benchlib/results"))
    _check(kept_files == ["ingest-tiny.json", "ingest-tiny.svg"], f"beside README.md: {kept_files}")


def run(entry):
    """entry: the path of scripts/bench."""
    with tempfile.TemporaryDirectory(prefix="icecore-bench.") as folder:
        out = f"{folder}/out"
        # Nothing of the machine's own: restic has to be missing. The machine's caches stay.
        env = {**os.environ, "BENCH_DIR": folder, "BENCH_WARM": "1", "PATH": f"{folder}/path", "ICECORE": tools.icecore_binary()}
        os.makedirs(f"{folder}/path")
        for program in ("sh", "tar", "cat", "cp", "stat", "git"):
            os.symlink(shutil.which(program) or "/missing", f"{folder}/path/{program}")
        base = [sys.executable, entry]
        scope = ["--scale", "tiny", "--tool", "icecore,restic", "--reps", "1", "--out", out]
        _call([*base, "ingest", *scope], env)
        _check_deltas(f"{folder}/corpora/tiny")
        _check_ingest(out)
        _check_lifecycle(out, _call([*base, "lifecycle", *scope, "--corpus", "C1"], env))
        text = _call([*base, "report", out], env)
        _check_readme(f"{folder}/project", out)
        _check("restic has no figures" in text and "peak RSS" in text, "the report is not whole")
        with open(f"{out}/ingest-tiny.json") as f:
            report = json.load(f)
        _check(report["corpora"]["C5"]["icecore"]["first"] > 0, "no figure in the JSON")
        _check({d["verdict"] for d in report["demands"] if d["what"] != "peak RSS"} <= {"pass", "miss", "not measured"}, "odd verdict")
        drawn = xml.parse(f"{out}/ingest-tiny.svg").getroot()
        _check(sum(e.tag.endswith("}rect") for e in drawn) > 10, "the plot has no bars")
    print("bench: self-test passed", file=sys.stderr)


def _call(argv, env):
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    _check(done.returncode == 0, f"{' '.join(argv[1:3])} failed: {done.stderr[-2000:]}")
    return done.stdout

