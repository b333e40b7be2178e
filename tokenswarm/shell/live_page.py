"""The run on the web UI's page: its facts, its table and verdict so far, as the report has them."""

from __future__ import annotations

from locust.env import Environment

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from exporters.turns import Load
from exporters.web import tab as web_tab
from exporters.web.live_run import LiveRun
from exporters.web.tab import Shown, Verdict, WebTab, Words
from tokenswarm.measure import verdict
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.verdict import Evidence
from tokenswarm.measure.window import WARM_UP_SHARE
from tokenswarm.report.analysis import sent
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.analysis.steps import Step, steps, whole_run
from tokenswarm.report.notation import target_text
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.levels import headings, row
from tokenswarm.shell.run import Run
from workload.figures import Workload

# Of a level some of whose turns are still under way: what they will add to.
AT_LEAST, _GROWING = "≥", ("offered", "turns")
TABLE_NOTE = (
    f"A level's first {WARM_UP_SHARE:.0%} is left out as warm-up; TTFT and late in seconds, TPS in "
    f"tokens per second and user. {AT_LEAST} turns are under way that will add to it, and their "
    "TTFT to the figures beside it."
)


class LivePage:
    """What `begin` puts on the page stays until the next run begins."""

    def __init__(self, tab: WebTab) -> None:
        self._tab = tab
        self._run: _PageOfRun | None = None

    def begin(
        self, run: Run, load: Callable[[], Load | None], workload: Workload, rate_can_change: bool
    ) -> None:
        """load: what is under way in all processes; workload: what the profile promises."""
        self._run = _PageOfRun(run, workload)
        self._tab.begin(self._run.shown(load, rate_can_change))

    def end(self, found: Result) -> None:
        """The run is over; found: what its ledger says."""
        if self._run is not None:
            self._run.end(found)
            self._run = None
            self._tab.end()


class _PageOfRun:
    """One run on the page."""

    def __init__(self, run: Run, workload: Workload) -> None:
        self._run = run
        self._workload = workload
        self._open_mode = run.terms.open_mode
        self._live = LiveRun(self._step)
        self._found: Result | None = None
        run.feed.subscribe(self._live.add, self._live.level, self._live.add_health)

    def end(self, found: Result) -> None:
        live = self._live
        self._run.feed.unsubscribe(live.add, live.level, live.add_health)
        self._found = found

    def shown(self, load: Callable[[], Load | None], rate_can_change: bool) -> Shown:
        return Shown(
            live=self._live,
            heading=_heading(self._run),
            headings=_full_headings(self._open_mode),
            rate_can_change=rate_can_change,
            now_s=self._run.clock.now_s,
            load=load,
            words=self._words,
            level_lines=self._level_lines,
        )

    def _step(self, level: Level, turns: list[TurnRecord]) -> Step:
        return steps(Ledger(self._run.header, turns, [level]))[0]

    def _steps(self, now_s: float) -> Sequence[Step]:
        return self._live.steps(now_s) if self._found is None else self._found.steps

    def _words(self, now_s: float) -> Words:
        levels = self._steps(now_s)
        judged = self._judged(levels) if self._found is None else self._found.verdict
        return Words([self._row(step) for step in levels], _spoken(judged))

    def _row(self, step: Step) -> list[str]:
        cells = row(step, self._open_mode)
        if self._found is not None or step.window[1] <= self._live.settled_s:
            return cells
        grow = [head.startswith(_GROWING) for head in headings(self._open_mode)]
        return [
            f"{AT_LEAST}{cell}" if grows else cell for cell, grows in zip(cells, grow, strict=True)
        ]

    def _judged(self, levels: Sequence[Step]) -> verdict.Verdict:
        """The verdict on what has been seen: of levels those that are over, and what only the end
        of the run tells is not checked."""
        over = levels if self._live.ended_at_s is not None else levels[:-1]
        ledger = Ledger(
            self._run.header,
            list(self._live.turns),
            [step.level for step in levels],
            health=list(self._live.health),
            workload=self._workload,
        )
        evidence = Evidence(
            ledger=ledger,
            levels=[step.summary for step in over],
            whole=whole_run(ledger),
            steady=[None for _ in over],
            workload=sent.rows(ledger, sent.sent(ledger, levels)),
        )
        return verdict.judge(evidence)

    def _level_lines(self, now_s: float) -> Iterator[Sequence[object]]:
        levels = [_flat(step) for step in self._steps(now_s)]
        yield list(levels[0]) if levels else []
        yield from (list(level.values()) for level in levels)


def install(
    environment: Environment, grafana_url: str | None, change_tpm: Callable[[str], str]
) -> LivePage | None:
    """None where there is no web UI; see `exporters.web.tab.install`."""
    columns = [head.replace("\n", " ") for head in _full_headings(open_mode=True)]
    columns[1] = "target TPM or developers"
    tab = web_tab.install(
        environment, columns=columns, grafana_url=grafana_url, change_tpm=change_tpm
    )
    return None if tab is None else LivePage(tab)


def _spoken(judged: verdict.Verdict) -> Verdict:
    return Verdict(
        judged.grade,
        f"{len(judged.passed)} of {len(judged.checks)} checks passed",
        [f"{check.grade}: {verdict_text.sentence(check)}" for check in judged.reasons],
        [verdict_text.sentence(check) for check in judged.unchecked],
    )


def _heading(run: Run) -> dict[str, Any]:
    return {
        "run": run.terms.name,
        "target": target_text(run.header),
        "simulated": run.terms.target.simulated,
        "profile": run.profile.name,
        "seed": run.options.seed,
        "unit": "seconds" if run.clock.speed == 1 else "engine seconds",
        "table_note": TABLE_NOTE,
    }


def _full_headings(open_mode: bool) -> list[str]:
    """Those of the table, each with the group it belongs to: "TTFT p90"."""
    full, group = [], ""
    for head in headings(open_mode):
        first, _, second = head.partition("\n")
        group = first or group
        full.append(f"{group}\n{second}" if second else group)
    return full


def _flat(step: Step) -> dict[str, object]:
    """Level, window and summary as columns: ttft_s_p50, failures_http_429, …"""
    start_s, end_s = step.window
    summary = asdict(step.summary)
    del summary["window"]
    line = asdict(step.level) | {"window_start_s": start_s, "window_end_s": end_s}
    line["failed"] = step.summary.failed
    for name, value in summary.items():
        if name == "failures":
            line[name] = " ".join(f"{kind}:{count}" for kind, count in value.items())
        elif isinstance(value, dict):
            line |= {f"{name}_{part}": number for part, number in value.items()}
        else:
            line[name] = value
    return line
