"""The suite of years. For each corpus, each tool's repository lives through many snapshots:

  ingest        each of SNAPSHOTS, the corpus going to and fro between its steps
  forget        all but the newest KEPT, after each tenth snapshot
  prune         after each forget: everything that is not needed goes at once
  size          what is stored after each prune
  verify        every stored byte, at the end
  restore       the newest snapshot, caches dropped
  restore_fresh the same of a repository that holds nothing but that snapshot: what age costs
  cp, cp_fresh  the same with `cp -a` out of icecore's mount (the mounts of the others take minutes each)
"""
import shutil, os, sys

from . import measure
from .mount import READY_S, Mount
from .repository import Repository

SNAPSHOTS, EVERY, KEPT = 30, 10, 3


def _note(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


def step_of(number, last):
    """Steps 0 … last … 0 … last, so that each snapshot differs from the one before."""
    if last == 0:
        return 0
    place = number % (2 * last)
    return min(place, 2 * last - place)


class Suite:
    """One corpus, with the tools that still work on it."""

    def __init__(self, corpus, tools, options, log):
        self.corpus, self.options, self.log = corpus, options, log
        for tool in tools:
            if not tool.prune:
                _note(f"{tool.name} is left out: it has no prune")
        self.repositories = [Repository(tool, corpus, options.timeout) for tool in tools if tool.prune]
        self.last = min(corpus.last, options.steps)

    def _record(self, repository, op, figures, **fields):
        self.log.measured(self.corpus.name, repository.tool.name, op, figures, **fields)
        return figures.get("rc", 0) in (*repository.tool.done, 0) and not figures.get("timeout")

    def _fail(self, repository, op):
        self.log.measured(self.corpus.name, repository.tool.name, "failed", {"rc": 1}, during=op)
        self.repositories.remove(repository)
        repository.remove()

    def _each(self, op, command, **fields):
        for repository in list(self.repositories):
            if not self._record(repository, op, command(repository), **fields):
                self._fail(repository, op)

    def _live(self, snapshots):
        for number in range(snapshots):
            self.corpus.goto(step_of(number, self.last))
            self._each("ingest", lambda r: r.ingest(), number=number)
            if (number + 1) % EVERY == 0:
                self._each("forget", lambda r: r.run(r.tool.forget, cwd=r.work, keep=KEPT), number=number)
                self._each("prune", lambda r: r.run(r.tool.prune, cwd=r.work), number=number)
                self._each("size", lambda r: r.size(), number=number)

    def _restore(self, repository):
        shutil.rmtree(repository.dest, ignore_errors=True)
        os.makedirs(repository.dest)
        measure.drop_caches()
        return repository.run(repository.tool.restore, cwd=repository.work)

    def _copy(self, repository):
        """`cp -a` of the newest snapshot out of the mount, caches dropped."""
        shutil.rmtree(repository.dest, ignore_errors=True)
        os.makedirs(repository.dest)
        measure.drop_caches()
        mount = Mount(repository, READY_S)
        try:
            figures = measure.run(["cp", "-a", f"{mount.tree}/.", repository.dest], timeout=self.options.timeout)
        finally:
            used = mount.close()
        return {**figures, **used}

    def _copies(self, op):
        for repository in [r for r in self.repositories if r.tool.name == "icecore"]:
            for rep in range(self.options.reps):
                if not self._record(repository, op, self._copy(repository), rep=rep):
                    self._fail(repository, op)
                    break

    def run(self):
        try:
            self._each("init", lambda r: r.fresh())
            self._live(SNAPSHOTS)
            self._each("verify", lambda r: r.run(r.tool.verify, cwd=r.work))
            for rep in range(self.options.reps):
                self._each("restore", self._restore, rep=rep)
            self._copies("cp")
            self._each("init", lambda r: r.fresh())
            self._each("ingest_fresh", lambda r: r.ingest())
            for rep in range(self.options.reps):
                self._each("restore_fresh", self._restore, rep=rep)
            self._copies("cp_fresh")
        finally:
            self.corpus.goto(0)
            if not self.options.keep:
                for repository in self.repositories:
                    repository.remove()
