"""Reports of what is in a folder of results: Markdown, JSON and SVG beside the lines, and the
sections of README.md, one a suite, between their markers. Whatever failed, is missing or was disturbed is named.
"""
import json, os, shutil, sys

from . import figures, plot
from .corpora import TITLES
from .plot import number
from .results import load
from .tools import PROJECT

MARKERS = "<!-- bench:{}:begin -->", "<!-- bench:{}:end -->"
INGEST = (("first", "first s"), ("first_mb_s", "MB/s"), ("first_cpu", "first CPU s"), ("nochange_warm", "no change, warm s"),
          ("nochange_cold", "no change, cold s"), ("changed", "changed step s"), ("changed_cpu", "changed CPU s"),
          ("size", "repository MB"), ("growth", "growth MB"), ("rss", "peak RSS MB"))
MOUNT = (("mount", "mount ready s"), ("find", "find s"), ("tar", "tar s"), ("tar_warm", "tar warm s"), ("cp", "cp -a s"), ("diff", "diff -r s"),
         ("cat", "cat MB/s"), ("cat_warm", "cat warm MB/s"), ("randread", "4 KiB reads/s"), ("restore", "restore s"),
         ("mount_rss", "mount RSS MB"))
LIFE = (("life_ingest", "ingest s"), ("life_forget", "forget s"), ("life_prune", "prune s"), ("life_prune_rss", "prune RSS MB"),
        ("life_size", "repository MB"), ("life_verify", "verify s"), ("restore", "restore s"), ("restore_fresh", "restore, fresh repository s"),
        ("age", "what age costs"), ("life_cp", "cp -a s"), ("cp_fresh", "cp -a, fresh repository s"), ("cp_age", "what age costs cp -a"))
COLUMNS = {"ingest": INGEST, "mount": MOUNT, "lifecycle": LIFE}
PLOTS = {"ingest": plot.COLUMNS, "mount": plot.READS, "lifecycle": plot.LIFE}
DISTURBED = {"first": "first", "first_mb_s": "first", "nochange_warm": "nochange_warm",
             "nochange_cold": "nochange_cold", "changed": "changed"}


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _disturbed(record):
    """Other work used more than 12 % of a core while the command ran."""
    other = record.get("syscpu_s", 0) - record.get("cpu_s", 0)
    return "cpu_s" in record and other > max(0.12 * record["wall_s"], 0.5)


def _cell(results, corpus, tool, name):
    text = number(figures.figure(results, corpus, tool, name))
    return text + ("!" if any(map(_disturbed, results.of(corpus, tool, DISTURBED.get(name, "")))) else "")


def _judged(rows, tools):
    """The table of demands."""
    peers = [p for p in figures.PEERS if p in tools]
    head = ["corpus and work", *peers, "icecore", "ratio to best peer", "ratio", "demanded", ""]
    lines = []
    for row in rows:
        what = f"{row['corpus']} {TITLES[row['corpus']]}: {row['what']}, {row['unit']}"
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f} of {row['beside']}"
        beside = row["beside"] + (f" ({number(row['reference'])})" if row["beside"].startswith("floor") else "")
        best = "–" if row["ratio_to_best_peer"] is None else f"{row['ratio_to_best_peer']:.2f}"
        lines.append([what, *(number(row["peers"][p]) for p in peers), number(row["icecore"]), best,
                      ratio.replace(row["beside"], beside), f"{row['demanded']:.2f}", f"**{row['verdict']}**"])
    return _table(head, lines)


def _corpus(results, corpus):
    columns = COLUMNS[results.suite]
    rows = [[tool, *(_cell(results, corpus, tool, key) for key, _ in columns)] for tool in results.tools(corpus)]
    text = f"### {corpus}: {TITLES[corpus]}\n\n" + _table(["tool", *(title for _, title in columns)], rows)
    floors = (("floor_tar", "`tar c . | cat >/dev/null`"), ("floor_cat", "`cat` of the big file"))
    floors = [(title, figures.figure(results, corpus, "floor", key)) for key, title in floors]
    told = "; ".join(f"{title} {number(value)} s" for title, value in floors if value is not None)
    return text + (f"\n\nReading the source cold: {told}." if told else "")


def notes(results):
    """All that a reader has to know to judge the figures."""
    found = [f"{tool} has no figures: {why}" for tool, why in results.missing().items()]
    found += [f"{corpus} was not measured: {why}" for corpus, why in results.skipped().items()]
    found += [f"{tool} has no figures on {corpus}: the run ended before" for corpus, tool in results.unreached()]
    for (corpus, tool), record in results.failed.items():
        why = "time limit" if record.get("timeout") else (record.get("err") or f"exit code {record.get('rc')}").splitlines()[-1]
        found.append(f"{tool} failed on {corpus} during {record['during']}: {why[:200]}")
    for corpus in results.corpora:
        runs = {run for (c, _), run in results.runs.items() if c == corpus}
        if len(runs) > 1:
            found.append(f"the tools of {corpus} were measured in {len(runs)} different runs: their ratios are indicative")
    records = [o for v in results.records.values() for o in v]
    if any(o.get("cold") is False and "warm" not in o["op"] for o in records):
        found.append("caches were not dropped (that needs root, and BENCH_WARM unset): what is called cold was warm")
    if disturbed := sum(map(_disturbed, records)):
        found.append(f"during {disturbed} of {sum('cpu_s' in o for o in records)} measurements other work used more than "
                     "12 % of a core; in the tables of each corpus `!` marks what they went into")
    if results.scale != "full":
        found.append("the demands are stated for the full scale; this is another")
    for (corpus, tool, op), v in results.records.items():
        if any(o.get("complete") is False for o in v):
            found.append(f"{tool} on {corpus}: {op} gave not all of the tree")
    return found


def _machine(results):
    newest = max(results.heads) if results.heads else None
    m = results.heads[newest]["machine"] if newest else {}
    return (f"{m.get('date')}, {m.get('cpu')}, {m.get('cores')} cores, {m.get('memory_gb')} GB, {m.get('file_system')}, "
            f"{m.get('kernel')}; icecore: {m.get('icecore')}")


def _versions(results):
    shown = results.tools()
    return "; ".join(f"{tool}: {v}" for tool, v in results.versions().items() if tool in shown)


def markdown(results):
    parts = [f"## {results.suite}, {results.scale} scale", f"{_machine(results)}. {_versions(results)}."]
    if results.suite == "ingest":
        rows = figures.judge(results)
        passed = sum(row["verdict"] == "pass" for row in rows)
        parts += [_judged(rows, results.tools()), f"{passed} of {len(rows)} demands reached."]
    parts += [_corpus(results, corpus) for corpus in results.corpora]
    parts += ["\n".join(f"- {note}" for note in notes(results))]
    return "\n\n".join(filter(None, parts)) + "\n"


def as_json(results):
    columns = [key for key, _ in COLUMNS[results.suite]]
    table = {c: {t: {k: figures.figure(results, c, t, k) for k in columns} for t in results.tools(c)} for c in results.corpora}
    floors = {c: {k: figures.figure(results, c, "floor", k) for k in ("floor_tar", "floor_cat")} for c in results.corpora}
    return {"schema": 1, "suite": results.suite, "scale": results.scale, "versions": results.versions(),
            "runs": [{k: head[k] for k in ("run", "machine", "tools", "reps")} for head in results.heads.values()],
            "corpora": table, "floors": floors, "demands": figures.judge(results) if results.suite == "ingest" else [],
            "notes": notes(results)}


def _svg(results):
    return plot.svg(results, f"icecore beside other backup tools: {results.suite}, {results.scale} scale",
                    f"less is better; {_machine(results)}", PLOTS[results.suite])


def write(folder, suite=None, scale=None):
    """Writes SUITE-SCALE.md, .json and .svg into the folder of results, of all or of one. Returns the Markdown."""
    found = [r for r in load(folder) if suite in (None, r.suite) and scale in (None, r.scale)]
    if not found:
        raise SystemExit(f"bench: no results in {folder}: run scripts/bench first")
    texts = []
    for results in found:
        base = f"{folder}/{results.suite}-{results.scale}"
        texts.append(markdown(results))
        for suffix, text in (("md", texts[-1]), ("json", json.dumps(as_json(results), indent=1) + "\n"), ("svg", _svg(results))):
            with open(f"{base}.{suffix}", "w") as f:
                f.write(text)
    return "\n".join(texts)


def _section(results):
    stem = f"{results.suite}-{results.scale}"
    parts = [f"![{results.suite}: wall time and size of each tool](scripts/benchlib/results/{stem}.svg)"]
    if results.suite == "ingest":
        parts.append(_judged(figures.judge(results), results.tools()))
    else:
        parts += [_corpus(results, corpus) for corpus in results.corpora]
    parts.append(f"Measured on {_machine(results)}. {_versions(results)}. All with encryption; medians.")
    parts.append("\n".join(f"- {note}" for note in notes(results)))
    return "\n\n".join(filter(None, parts))


def _replaced(text, results):
    """The text with a suite's section made anew; None where it has no place for one."""
    begin, end = (marker.format(results.suite) for marker in MARKERS)
    if text.count(begin) != 1 or text.count(end) != 1:
        return None
    return f"{text.split(begin)[0]}{begin}\n{_section(results)}\n{end}{text.split(end)[1]}"


def readme(folder, project=PROJECT):
    """Puts the results of the largest scale into README.md, and their JSON and SVG beside this file. Sections
    of suites without results stay as they are; a suite without a section is named."""
    found = load(folder)
    scale = next((s for s in ("full", "small", "tiny") if any(r.scale == s for r in found)), None)
    path = f"{project}/README.md"
    with open(path) as f:
        text = f.read()
    shown = []
    for results in (r for r in found if r.scale == scale):
        if (replaced := _replaced(text, results)) is None:
            marks = " and ".join(marker.format(results.suite) for marker in MARKERS)
            print(f"bench: README.md has no section for {results.suite}: it needs {marks} once each", file=sys.stderr)
        else:
            text = replaced
            shown.append(f"{results.suite}-{scale}")
    if not shown:
        raise SystemExit(f"bench: nothing of {folder} to be put into {path}")
    write(folder)
    kept = f"{project}/scripts/benchlib/results"
    os.makedirs(kept, exist_ok=True)
    for stem in shown:
        for suffix in ("json", "svg"):
            shutil.copy(f"{folder}/{stem}.{suffix}", kept)
    with open(path, "w") as f:
        f.write(text)
