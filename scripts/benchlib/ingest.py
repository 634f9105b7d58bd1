"""The suite of backups. For each corpus, all tools interleaved, so that noise hits them alike:

  first          step 0 into a new repository, caches dropped; repeated
  changed        each following step, caches dropped
  size           what is stored, after the first snapshot and after each step
  nochange_warm  the last step again, with caches as the run before left them; repeated
  nochange_cold  the same with caches dropped; repeated
  floor          tar c . | cat >/dev/null, and cat of the big file: reading the source, cold

Runs without a change come last, so that their snapshots do not count as growth.
"""
import sys

from . import measure
from .repository import Repository

TAR = ["sh", "-c", "tar c . | cat >/dev/null"]
CAT = ["sh", "-c", 'cat "$0" >/dev/null']


def _note(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


class Suite:
    """One corpus, with the tools that still work on it."""

    def __init__(self, corpus, tools, options, log):
        self.corpus, self.options, self.log = corpus, options, log
        self.repositories = [Repository(tool, corpus, options.timeout) for tool in tools]
        self.reps = options.reps
        self.last = min(corpus.last, options.steps)

    def _record(self, tool, op, figures, **fields):
        self.log.measured(self.corpus.name, tool, op, figures, **fields)

    def _turns(self, round_):
        """The working tools; each round begins with another."""
        n = len(self.repositories)
        at = round_ % n if n else 0
        return self.repositories[at:] + self.repositories[:at]

    def _fail(self, repository, op, result):
        """Names a failure, and goes on without the tool."""
        fields = {k: result[k] for k in ("rc", "err", "timeout") if k in result}
        self._record(repository.tool.name, "failed", fields, during=op)
        self.repositories.remove(repository)
        if not self.options.keep:
            repository.remove()

    def _ingest(self, repository, op, **fields):
        """Takes one measured snapshot. fields: rep or step."""
        step = self.corpus.meta["steps"][fields.get("step", self.last)]
        result = repository.ingest()
        result["mb_s"] = round(step["bytes"] / 1e6 / result["wall_s"], 1)
        self._record(repository.tool.name, op, result, cold=op != "nochange_warm" and measure.can_drop_caches(), **fields)
        if not repository.is_done(result):
            self._fail(repository, op, result)
            return False
        return True

    def _floor(self, rep):
        reads = {"floor_tar": TAR}
        if self.corpus.big:
            reads["floor_cat"] = [*CAT, self.corpus.big]
        for op, command in reads.items():
            measure.drop_caches()
            self._record("floor", op, measure.run(command, cwd=self.corpus.live), rep=rep)

    def first(self):
        for rep in range(self.reps):
            for repository in self._turns(rep):
                made = repository.fresh()
                if made["rc"]:
                    self._fail(repository, "init", made)
                    continue
                measure.drop_caches()
                if self._ingest(repository, "first", rep=rep, step=0) and rep == self.reps - 1:
                    self._record(repository.tool.name, "size", repository.size(), step=0)
            self._floor(rep)

    def changed(self):
        for step in range(1, self.last + 1):
            self.corpus.goto(step)
            for repository in self._turns(step):
                measure.drop_caches()
                if self._ingest(repository, "changed", step=step):
                    self._record(repository.tool.name, "size", repository.size(), step=step)

    def no_change(self):
        for repository in self._turns(0):
            repository.ingest()  # warms up; not measured
        for rep in range(self.reps):
            for repository in self._turns(rep):
                self._ingest(repository, "nochange_warm", rep=rep)
        for rep in range(self.reps):
            for repository in self._turns(rep):
                measure.drop_caches()
                self._ingest(repository, "nochange_cold", rep=rep)

    def run(self):
        try:
            self.corpus.goto(0)
            self.first()
            self.changed()
            self.no_change()
        finally:
            if not self.options.keep:
                for repository in self.repositories:
                    repository.remove()
        if not self.repositories:
            _note(f"{self.corpus.name}: no tool got through")
