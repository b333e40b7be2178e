"""Gate: whether a run passes, and the exit code that says so.

0  every SLO is met and no limit is exceeded
1  an SLO is missed at some level, or a limit is exceeded
2  bad input
3  nothing failed, but something could not be judged
4  the run is INVALID, whatever the rest says
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenswarm.exit_codes import FAILED, INVALID_RUN, NOT_JUDGED, PASSED
from tokenswarm.measure.ledger import open_run
from tokenswarm.measure.no_result import MAX_FAILED_SHARE
from tokenswarm.measure.slo import Judgement, Slo
from tokenswarm.measure.verdict import INVALID
from tokenswarm.report.analysis.compare import StoredRun
from tokenswarm.report.analysis.regression import Limit, Regression, regression_text, regressions
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.analysis.result import result as result_of
from tokenswarm.report.text.objectives import judge

# What a gate allows where nobody asked for an objective of failures.
FAILURES = Slo.parse(f"failures<={MAX_FAILED_SHARE:.0%}")
INVALID_BASELINE = "the baseline is INVALID; tokenswarm report on it says why"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    result: Result
    # By SLO, then by level; where no SLO is of failures, those of FAILURES come last.
    judgements: tuple[tuple[Judgement, ...], ...]
    baseline: Path | None
    regressions: tuple[Regression, ...]

    @property
    def exit_code(self) -> int:
        if self.result.verdict.grade == INVALID:
            return INVALID_RUN
        answers = {judgement.met for row in self.judgements for judgement in row}
        answers |= {None if r.fails is None else not r.fails for r in self.regressions}
        if False in answers:
            return FAILED
        return NOT_JUDGED if None in answers else PASSED

    def text(self) -> str:
        """Levels that fail too often, and the limits against the baseline, a line each; empty
        without any."""
        lines = [] if self._failures_were_asked_for else list(map(_failing, self._failing()))
        if self.regressions:
            lines.append(f"Against the baseline {self.baseline}:")
            lines += map(regression_text, self.regressions)
        return "\n".join(lines)

    @property
    def _failures_were_asked_for(self) -> bool:
        return asks_for_failures(self.result.slos)

    def _failing(self) -> Iterator[tuple[int, Judgement]]:
        """Levels, by index, that miss FAILURES."""
        for step, judgement in zip(self.result.steps, self.judgements[-1], strict=True):
            if judgement.met is False:
                yield step.level.index, judgement


def asks_for_failures(slos: Sequence[Slo]) -> bool:
    return any(slo.metric == FAILURES.metric for slo in slos)


def _failing(at: tuple[int, Judgement]) -> str:
    level, judgement = at
    return (
        f"Failures: level {level} lost {judgement.value:.1%} of its turns, and the gate allows "
        f"{FAILURES.threshold:.0%} where no --slo is of failures: MISSED"
    )


def gate(
    result: Result,
    path: Path,
    baseline: Path | None = None,
    limits: Sequence[Limit] = (),
    at: float | None = None,
) -> Gate:
    """path: of the run. Raises ComparisonError, LedgerError or OSError for a baseline that cannot
    be held against it, ValueError for limits without one."""
    require_baseline(baseline, limits)
    found: list[Regression] = []
    if baseline is not None:
        before = StoredRun(baseline, open_run(baseline))
        found = regressions(StoredRun(path, result.ledger), before, limits, at)
        if result_of(before.ledger).verdict.grade == INVALID:
            found = [replace(each, fails=None, reason=INVALID_BASELINE) for each in found]
    slos = result.slos if asks_for_failures(result.slos) else (*result.slos, FAILURES)
    return Gate(
        result=result,
        judgements=tuple(tuple(row) for row in judge(result.steps, slos)),
        baseline=baseline,
        regressions=tuple(found),
    )


def require_baseline(baseline: Path | None, limits: Sequence[Limit]) -> None:
    """Raises ValueError where one is given without the other."""
    if limits and baseline is None:
        raise ValueError("--max-regress needs --baseline; accepted: the folder of an earlier run")
    if baseline is not None and not limits:
        raise ValueError("--baseline needs --max-regress; accepted: ttft_p50=10%, for example")
