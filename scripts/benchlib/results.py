"""Results: JSON lines, one a measurement, appended as they come, so that an interrupted run keeps
what it has. Each run begins with a line of op "run" that says when, on what and with which versions.
"""
import collections, glob, json, os, statistics, time

SHOWN = ("step", "rep", "wall_s", "cpu_s", "rss_mb", "repo_mb", "mb_s", "files_s", "iops", "timeout", "err")


def _ends_line(f):
    with open(f.name, "rb") as raw:
        raw.seek(-1, os.SEEK_END)
        return raw.read() == b"\n"


def _parse(line):
    try:
        return [json.loads(line)]
    except ValueError:  # half a line
        return []


class Log:
    """Appends the measurements of one run of a suite."""

    def __init__(self, folder, suite, scale):
        os.makedirs(folder, exist_ok=True)
        self.path = f"{folder}/{suite}-{scale}.jsonl"
        self.run = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
        self.common = {"run": self.run, "suite": suite, "scale": scale}

    def write(self, op, **fields):
        line = {**self.common, "ts": time.strftime("%FT%TZ", time.gmtime()), "op": op, **fields}
        with open(self.path, "a+") as f:
            if f.tell() and not _ends_line(f):  # a run before was killed in the middle of a line
                f.write("\n")
            f.write(json.dumps(line) + "\n")

    def measured(self, corpus, tool, op, figures, **fields):
        record = {**fields, **figures}
        self.write(op, corpus=corpus, tool=tool, **record)
        print(f"{corpus} {tool:12s} {op:14s}", *(f"{k}={record[k]}" for k in SHOWN if k in record), flush=True)


class Results:
    """What a folder holds of one suite at one scale: of each tool and corpus the newest run."""

    def __init__(self, suite, scale, lines):
        self.suite, self.scale = suite, scale
        self.heads = {o["run"]: o for o in lines if o["op"] == "run"}
        newest = {(o["corpus"], o["tool"]): o["run"] for o in lines if "tool" in o}
        self.records = collections.defaultdict(list)  # (corpus, tool, op): measurements
        for o in lines:
            if "tool" in o and newest[o["corpus"], o["tool"]] == o["run"]:
                self.records[o["corpus"], o["tool"], o["op"]].append(o)
        self.runs = newest
        self.corpora = sorted({c for c, _ in newest})
        self.failed = {(o["corpus"], o["tool"]): o for (c, t, op), v in self.records.items() if op == "failed" for o in v}

    def of(self, corpus, tool, op):
        return self.records.get((corpus, tool, op), [])

    def median(self, corpus, tool, op, key="wall_s"):
        values = [o[key] for o in self.of(corpus, tool, op) if o.get(key) is not None and not o.get("timeout")]
        return statistics.median(values) if values else None

    def tools(self, corpus=None):
        return list(dict.fromkeys(t for c, t in self.runs if corpus in (None, c) and t != "floor"))

    def versions(self):
        """{tool: version}, of the runs that are shown; older runs where newer ones did not have it."""
        found = {}
        for run in sorted(self.heads):
            found.update(self.heads[run].get("tools", {}))
        return found

    def missing(self):
        """{tool: why} of tools that were asked for and have no results at all."""
        shown = set(self.tools())
        return {t: why for head in self.heads.values() for t, why in head.get("missing", {}).items() if t not in shown}

    def unreached(self):
        """[(corpus, tool)] without results, of the newest run of each corpus."""
        last = {c: max(run for (k, _), run in self.runs.items() if k == c) for c in self.corpora}
        return [(c, t) for c, run in last.items() for t in self.heads.get(run, {}).get("tools", {}) if (c, t) not in self.runs]

    def skipped(self):
        """{corpus: why} of corpora that were asked for and could not be built."""
        return {o["corpus"]: o["err"] for o in self.heads.values() for o in o.get("skipped", []) if o["corpus"] not in self.corpora}


def load(folder):
    """All Results of a folder, by suite and scale."""
    found = []
    for path in sorted(glob.glob(f"{folder}/*.jsonl")):
        with open(path) as f:
            lines = [o for line in f for o in _parse(line)]
        if lines:
            found.append(Results(lines[0]["suite"], lines[0]["scale"], lines))
    return found
