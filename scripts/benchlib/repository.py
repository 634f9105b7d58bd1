"""One tool's repository of one corpus, and the snapshots made in it."""
import os, shutil

from . import measure
from .real import BENCH


class Repository:
    def __init__(self, tool, corpus, timeout):
        """timeout: seconds that a command may take."""
        self.tool, self.corpus, self.timeout = tool, corpus, timeout
        self.work = f"{BENCH}/run/{tool.name}-{corpus.name}-{corpus.scale}"
        self.repo, self.mnt, self.dest = (f"{self.work}/{name}" for name in ("repo", "mnt", "dest"))
        self.labels = []

    def command(self, template, **fields):
        last = self.labels[-1] if self.labels else ""
        return self.tool.command(template, repo=self.repo, live=self.corpus.live, mnt=self.mnt, dest=self.dest, last=last, **fields)

    def environment(self):
        return self.tool.environment(self.repo)

    def run(self, template, cwd=None, **fields):
        return measure.run(self.command(template, **fields), self.environment(), cwd, self.timeout)

    def fresh(self):
        """Starts anew with an empty repository. Returns what init measured."""
        self.remove()
        for folder in (self.repo, self.mnt, self.dest):
            os.makedirs(folder)
        self.labels = []
        return self.run(self.tool.init, cwd=self.work)

    def ingest(self):
        """Takes a snapshot of the live tree."""
        label = f"s{len(self.labels):03d}"
        result = self.run(self.tool.ingest, cwd=self.corpus.live, label=label)
        if self.is_done(result):
            self.labels.append(label)
        return result

    def is_done(self, result):
        return result["rc"] in self.tool.done and not result.get("timeout")

    def size(self):
        """What is stored; caches of the tool's own beside it are told apart."""
        files, size = measure.stored(f"{self.repo}/r")
        beside = measure.stored(self.repo)[1] - size
        return {"repo_mb": round(size / 1e6, 2), "repo_files": files, "beside_mb": round(beside / 1e6, 2),
                "snapshots": len(self.labels)}

    def remove(self):
        shutil.rmtree(self.work, ignore_errors=True)
