"""Jobs: sessions as tasks. How long one takes, how much of that is waiting for the model, how many
get done.

A run cuts sessions at both ends: it meets some in mid-life, and ends before others do. A mean over
those seen whole would favour the short ones. So totals are divided by the number of tasks that
*ended* in the run, whichever they were (renewal reward: Ross, Introduction to Probability Models,
chapter 7); what a met session did before the run and what a cut one would have done after it stand
for each other where traffic is steady. The median of the time per task is Kaplan and Meier's: of
sessions seen from their start, those that the run cut count as longer than what was seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tokenswarm.measure.quantiles import censored_quantiles
from tokenswarm.measure.record import UNSENT, TurnRecord
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.resample import RESAMPLES, SEED, interval

SECONDS_PER_HOUR = 3600.0
# Tasks drawn for the interval of the median, about a second of work (guess); then fewer resamples,
# as so many tasks leave little to draw.
_MOST_DRAWN, _LEAST_RESAMPLES = 2_000_000, 100
# "w0.u3.s1" is developer w0.u3's second session, "w0.u3.s1.a2" a sub-agent's of it.
_NAME = re.compile(r"(?P<task>(?P<developer>.+?)\.s\d+)(\.a\d+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A session with its sub-agents. begun_at_s: its first turn was due; ended_at_s: its last turn
    ended, or the run; waited_s: somebody of it waited for an answer; met: it had begun before the
    run; cut: it had not ended when the run did."""

    developer: str
    begun_at_s: float
    ended_at_s: float
    waited_s: float
    turns: int
    met: bool
    cut: bool

    @property
    def took_s(self) -> float:
        return self.ended_at_s - self.begun_at_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """ended, met, cut: tasks; a met one may be among the ended. Intervals draw developers anew."""

    ended: int
    met: int
    cut: int
    task_s: Interval  # mean
    task_p50_s: Interval
    waiting_s: Interval  # of a mean task
    waiting_minutes_per_developer_hour: Interval
    tasks_per_hour: Interval
    tasks_per_gpu_hour: Interval
    turns_per_task: Interval


def tasks(records: Iterable[TurnRecord]) -> list[Task]:
    """In order of their first turn. A session has ended where its developer has a later one."""
    turns: dict[str, list[TurnRecord]] = {}
    developers: dict[str, str] = {}
    last: dict[str, str] = {}
    over_s = 0.0
    for record in sorted(records, key=lambda record: record.scheduled_at_s):
        if record.kind == UNSENT or (named := _named(record.session)) is None:
            continue
        task, developer = named
        turns.setdefault(task, []).append(record)
        developers[task], last[developer] = developer, task
        over_s = max(over_s, record.ended_at_s)
    return [
        _task(developers[name], of_task, last[developers[name]] == name, over_s)
        for name, of_task in turns.items()
    ]


@lru_cache(maxsize=4096)
def _named(session: str) -> tuple[str, str] | None:
    """Task and developer; None for a name that is none of ours."""
    found = _NAME.fullmatch(session)
    return None if found is None else (found["task"], found["developer"])


def _task(developer: str, turns: Sequence[TurnRecord], cut: bool, over_s: float) -> Task:
    return Task(
        developer=developer,
        begun_at_s=turns[0].scheduled_at_s,
        ended_at_s=over_s if cut else max(turn.ended_at_s for turn in turns),
        waited_s=_waited_s(turns),
        turns=len(turns),
        met=turns[0].kind == "met",
        cut=cut,
    )


def _waited_s(turns: Sequence[TurnRecord]) -> float:
    """Of sub-agents that work side by side, a second counts once."""
    waits = sorted((t.sent_at_s, t.ended_at_s) for t in turns if t.sent_at_s is not None)
    total_s, until_s = 0.0, float("-inf")
    for sent_at_s, ended_at_s in waits:
        total_s += max(0.0, ended_at_s - max(sent_at_s, until_s))
        until_s = max(until_s, ended_at_s)
    return total_s


def jobs(records: Iterable[TurnRecord], gpus: int | None) -> Jobs | None:
    """Of the whole run, its levels together. None where no task ended: no data, no figure."""
    found = tasks(records)
    ended = sum(not task.cut for task in found)
    if not ended:
        return None
    sums = _by_developer(found)
    clusters = len(sums)
    rng = np.random.default_rng(SEED)
    weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES)
    totals, drawn = sums.sum(axis=0), weights @ sums
    hours = (
        max(task.ended_at_s for task in found) - min(task.begun_at_s for task in found)
    ) / SECONDS_PER_HOUR

    def ratio(over: int, under: int, factor: float = 1.0) -> Interval:
        with np.errstate(divide="ignore", invalid="ignore"):
            return interval(
                factor * totals[over] / totals[under],
                [factor * drawn[:, over] / drawn[:, under]],
                [clusters],
            )

    rate = interval(totals[_ENDED] / hours, [drawn[:, _ENDED] / hours], [clusters])
    return Jobs(
        ended=ended,
        met=sum(task.met for task in found),
        cut=sum(task.cut for task in found),
        task_s=ratio(_TOOK, _ENDED),
        task_p50_s=_median(found),
        waiting_s=ratio(_WAITED, _ENDED),
        waiting_minutes_per_developer_hour=ratio(_WAITED, _TOOK, 60.0),
        tasks_per_hour=rate,
        tasks_per_gpu_hour=rate.scaled(1 / gpus) if gpus else Interval(),
        turns_per_task=ratio(_TURNS, _ENDED),
    )


_ENDED, _TOOK, _WAITED, _TURNS = range(4)


def _by_developer(found: Sequence[Task]) -> NDArray[np.float64]:
    """Shape (developers, 4): tasks ended, seconds at work, seconds waited, turns."""
    rows: dict[str, NDArray[np.float64]] = {}
    for task in found:
        row = rows.setdefault(task.developer, np.zeros(4))
        row += (not task.cut, task.took_s, task.waited_s, task.turns)
    return np.array(list(rows.values()))


def _median(found: Sequence[Task]) -> Interval:
    """Kaplan and Meier's, of the tasks seen from their start; no value where the run was too short
    to see half of them end."""
    whole = [task for task in found if not task.met]
    if not whole:
        return Interval()
    took = np.array([task.took_s for task in whole])
    cut = np.array([task.cut for task in whole])
    rng = np.random.default_rng(SEED)
    medians = np.empty(max(_LEAST_RESAMPLES, min(RESAMPLES, _MOST_DRAWN // len(whole))))
    for n in range(len(medians)):
        drawn = rng.integers(len(whole), size=len(whole))
        medians[n] = censored_quantiles(took[drawn], cut[drawn], (0.5,))[0]
    value = float(censored_quantiles(took, cut, (0.5,))[0])
    return Interval() if np.isinf(value) else interval(value, [medians], [len(whole)])
