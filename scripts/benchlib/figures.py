"""What is demanded of icecore beside its peers, and whether it is reached.

The demands are stated for the full scale; at smaller ones they are shown all the same.
"""
import dataclasses

PEERS = ("restic", "rustic", "borg")
RSS_LIMIT_MB = 200


@dataclasses.dataclass(frozen=True)
class Demand:
    """icecore's figure must be at most `factor` times that of `beside`."""
    corpus: str
    what: str
    unit: str
    figure: str  # a key of FIGURES
    factor: float
    beside: str = "best"  # the best peer, a peer's name, or the figure of the floor


def _growth(results, corpus, tool):
    sizes = {o["step"]: o["repo_mb"] for o in results.of(corpus, tool, "size")}
    return round(sizes[max(sizes)] - sizes[0], 2) if len(sizes) > 1 and 0 in sizes else None


def _last_size(results, corpus, tool):
    sizes = results.of(corpus, tool, "size")
    return max(sizes, key=lambda o: o["step"])["repo_mb"] if len(sizes) > 1 else None


def _peak_rss(results, corpus, tool):
    ops = ("first", "changed", "nochange_warm", "nochange_cold")
    return max((o["rss_mb"] for op in ops for o in results.of(corpus, tool, op)), default=None)


def _mount_rss(results, corpus, tool):
    ops = ("mount", "find", "tar", "cp", "diff", "cat", "randread")
    return max((o["mount_rss_mb"] for op in ops for o in results.of(corpus, tool, op)), default=None)


def _ratio(a, b):
    return round(a / b, 3) if a and b else None


def _median(op, key="wall_s"):
    return lambda results, corpus, tool: results.median(corpus, tool, op, key)


FIGURES = {
    "first": _median("first"),
    "first_mb_s": _median("first", "mb_s"),
    "first_cpu": _median("first", "cpu_s"),
    "nochange_warm": _median("nochange_warm"),
    "nochange_cold": _median("nochange_cold"),
    "changed": _median("changed"),
    "changed_cpu": _median("changed", "cpu_s"),
    "size": _last_size,
    "growth": _growth,
    "rss": _peak_rss,
    "mount": _median("mount"),
    "find": _median("find"),
    "tar": _median("tar"),
    "tar_warm": _median("tar_warm"),
    "cp": _median("cp"),
    "diff": _median("diff"),
    "cat": _median("cat", "mb_s"),
    "cat_warm": _median("cat_warm", "mb_s"),
    "randread": _median("randread", "iops"),
    "restore": _median("restore"),
    "mount_rss": _mount_rss,
    "life_ingest": _median("ingest"),
    "life_forget": _median("forget"),
    "life_prune": _median("prune"),
    "life_prune_rss": _median("prune", "rss_mb"),
    "life_size": lambda results, corpus, tool: max(((o["number"], o["repo_mb"]) for o in results.of(corpus, tool, "size")), default=(0, None))[1],
    "life_verify": _median("verify"),
    "restore_fresh": _median("restore_fresh"),
    "age": lambda results, corpus, tool: _ratio(results.median(corpus, tool, "restore"), results.median(corpus, tool, "restore_fresh")),
    "life_cp": _median("cp"),
    "cp_fresh": _median("cp_fresh"),
    "cp_age": lambda results, corpus, tool: _ratio(results.median(corpus, tool, "cp"), results.median(corpus, tool, "cp_fresh")),
    "floor_tar": _median("floor_tar"),
    "floor_cat": _median("floor_cat"),
}

DEMANDS = (
    Demand("C1", "first", "s", "first", 1 / 3, "restic"),
    Demand("C1", "first, CPU", "s", "first_cpu", 1 / 3, "restic"),
    Demand("C1", "first, to reading it with tar", "s", "first", 1.2, "floor_tar"),
    Demand("C1", "no change, warm", "s", "nochange_warm", 0.1),
    Demand("C1", "changed step", "s", "changed", 0.25),
    Demand("C1", "repository", "MB", "size", 0.75),
    Demand("C2", "first", "s", "first", 0.4),
    Demand("C2", "repository", "MB", "size", 0.6),
    Demand("C3", "growth", "MB", "growth", 0.25),
    Demand("C4", "first", "s", "first", 1 / 3),
    Demand("C4", "changed step, to reading it with cat", "s", "changed", 1.2, "floor_cat"),
    Demand("C4", "growth", "MB", "growth", 0.6),
    Demand("C5", "first", "s", "first", 1 / 3),
    Demand("C5", "no change, warm", "s", "nochange_warm", 0.1),
    Demand("C5", "repository", "MB", "size", 0.6),
)


def figure(results, corpus, tool, name):
    return FIGURES[name](results, corpus, tool)


def _row(corpus, what, unit, peers, own, reference, beside, limit):
    """One judged row; limit: the greatest ratio to the reference."""
    best = min((v for v in peers.values() if v is not None), default=None)
    ratio = own / reference if own is not None and reference else None
    return {"corpus": corpus, "what": what, "unit": unit, "peers": peers, "icecore": own, "beside": beside,
            "reference": reference, "ratio": ratio, "demanded": limit,
            "ratio_to_best_peer": own / best if own is not None and best else None,
            "verdict": "not measured" if ratio is None else "pass" if ratio <= limit else "miss"}


def judge(results, own="icecore"):
    """One row for each demand on a corpus that was measured, and one for the memory of each corpus."""
    rows = []
    for d in DEMANDS:
        if d.corpus not in results.corpora:
            continue
        peers = {p: figure(results, d.corpus, p, d.figure) for p in PEERS}
        if d.beside == "best":
            measured = {p: v for p, v in peers.items() if v is not None}
            beside = min(measured, key=measured.get) if measured else "best"
            reference = measured.get(beside)
        else:
            beside = d.beside
            reference = peers[beside] if beside in peers else figure(results, d.corpus, "floor", beside)
        mine = figure(results, d.corpus, own, d.figure)
        rows.append(_row(d.corpus, d.what, d.unit, peers, mine, reference, beside, d.factor))
    for corpus in results.corpora:
        peers = {p: figure(results, corpus, p, "rss") for p in PEERS}
        mine = figure(results, corpus, own, "rss")
        rows.append(_row(corpus, "peak RSS", "MB", peers, mine, RSS_LIMIT_MB, f"{RSS_LIMIT_MB} MB", 1.0))
    return rows
