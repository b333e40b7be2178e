"""Sweep: many offline runs on all cores. The same cases and seeds give the same points, in the
same order, on any number of processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import isfinite

from tqdm import tqdm

from tokenswarm.engine.offline import run as offline_run
from tokenswarm.engine.offline.estimate import Estimate, over_seeds
from tokenswarm.engine.offline.run import Figures, Load
from tokenswarm.engine.physics.presets import Preset
from tokenswarm.measure.window import KEPT_UP_SHARE
from workload.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One preset under the traffic of one source; `label` names it in tables."""

    label: str
    preset: Preset
    source: Source
    load: Load


@dataclass(frozen=True, slots=True)
class Point:
    """What a case adds up to, seed by seed. SIMULATED."""

    case: Case
    seeds: tuple[int, ...]
    figures: tuple[Figures, ...]

    def estimate(self, name: str) -> Estimate | None:
        """Median and interval of a field of `Figures`."""
        return over_seeds(getattr(figures, name) for figures in self.figures)

    def ratio(self, base: Point, name: str) -> Estimate | None:
        """Of this to `base`, seed by seed: the same sessions met both."""
        pairs = zip(self.figures, base.figures, strict=True)
        both = ((getattr(mine, name), getattr(theirs, name)) for mine, theirs in pairs)
        known = (pair for pair in both if pair[0] and pair[1] and isfinite(pair[1]))
        return over_seeds(mine / theirs for mine, theirs in known)

    @property
    def kept_up(self) -> int:
        """Seeds in which at least 95 % of the offered tokens were answered."""
        return sum(f.achieved_tpm >= KEPT_UP_SHARE * f.offered_tpm for f in self.figures)

    @property
    def completes(self) -> bool:
        """Whether most seeds kept up."""
        return self.kept_up > len(self.seeds) / 2


def sweep(
    cases: Sequence[Case], seeds: Sequence[int], *, processes: int | None, progress: bool = False
) -> list[Point]:
    """One point for each case; the last level of its load. processes None: one per core."""
    jobs = [(case, seed) for case in cases for seed in seeds]
    workers = min(processes or os.cpu_count() or 1, len(jobs))
    bar = tqdm(total=len(jobs), unit="run", desc="simulating", disable=not progress, leave=False)
    with bar:
        figures = []
        for each in _figures_of(jobs, workers):
            figures.append(each)
            bar.update()
    size = len(seeds)
    return [
        Point(case, tuple(seeds), tuple(figures[n * size : (n + 1) * size]))
        for n, case in enumerate(cases)
    ]


def _figures_of(jobs: Sequence[tuple[Case, int]], workers: int) -> Iterator[Figures]:
    if workers <= 1:
        yield from map(_run, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        try:
            yield from pool.map(_run, jobs)
        except BaseException:  # Ctrl-C, a bug: what has not begun need not
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run(job: tuple[Case, int]) -> Figures:
    case, seed = job
    run = offline_run.run(case.preset, case.source, case.load, seed)
    return run.figures(max(0, len(case.load.levels_tpm) - 1))
