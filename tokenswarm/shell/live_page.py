"""The run on the web UI's page: its facts, its table and verdict so far, as the report has them."""

from __future__ import annotations

from locust.env import Environment

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from exporters.turns import Load
from exporters.web import tab as web_tab
from exporters.web.live_run import LiveRun
from exporters.web.tab import (
    Endpoint,
    FailureWords,
    Field,
    Report,
    Shown,
    Verdict,
    WebTab,
    Words,
)
from tokenswarm.measure import verdict
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.verdict import Evidence
from tokenswarm.measure.verdict.of_generator import NO_LAST_LINE
from tokenswarm.measure.window import WARM_UP_SHARE
from tokenswarm.report.analysis import sent
from tokenswarm.report.analysis.failures import failure_kinds
from tokenswarm.report.analysis.result import DEFAULT_OBJECTIVE, Result
from tokenswarm.report.analysis.steps import Step, steps, whole_run
from tokenswarm.report.notation import share_text, slo_text, target_text, tpm_text
from tokenswarm.report.text import failures
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.levels import headings, row
from tokenswarm.shell.options import COMPOSE_SERVICE_VARIABLE
from tokenswarm.shell.run import Run
from workload.figures import Workload

# Of a level some of whose turns are still under way: what they will add to.
ENOUGH_S = 45.0  # of a level, after its warm-up: about twenty turns at 2.5M TPM (guess)
FAILING_SHARE = 0.01  # as the alert TurnsFail (deploy/prometheus/rules.yml)
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

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """While a run that was asked for has not begun: prompts are made, the endpoint is asked."""
        self._tab.preparing = True
        try:
            yield
        finally:
            self._tab.preparing = False

    def begin(
        self,
        run: Run,
        load: Callable[[], Load | None],
        workload: Workload,
        *,
        rate_can_change: bool,
        users_can_change: bool,
    ) -> None:
        """load: what is under way in all processes; workload: what the profile promises."""
        self._run = _PageOfRun(run, workload)
        shown = self._run.shown(load)
        self._tab.begin(
            replace(shown, rate_can_change=rate_can_change, users_can_change=users_can_change)
        )

    def end(self, found: Result, page: Path) -> None:
        """The run is over; found: what its ledger says; page: its report."""
        if self._run is not None:
            self._run.end(found)
            self._run = None
            self._tab.end(Report(page, _copy_hint(page.parent)))


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

    def shown(self, load: Callable[[], Load | None]) -> Shown:
        return Shown(
            live=self._live,
            heading=_heading(self._run),
            headings=_full_headings(self._open_mode),
            rate_can_change=False,
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
        return Words(
            [self._row(step) for step in levels],
            self._verdict(levels),
            self._endpoint(levels),
            [
                FailureWords(kind.kind, kind.turns, failures.samples_text(kind))
                for kind in failure_kinds(self._live.turns)
            ],
            [_point(step) for step in levels],
        )

    def _endpoint(self, levels: Sequence[Step]) -> Endpoint:
        if self._run.stopped:
            return Endpoint("fails", f"the run ended before its time: {self._run.stopped}", False)
        return endpoint_now(levels, self._run.options.gate.slos)

    def _verdict(self, levels: Sequence[Step]) -> Verdict | None:
        """None while there is nothing to judge: no level is over, or no turn of one has ended."""
        if self._found is not None:
            return _spoken(self._found.verdict)
        if not any(step.summary.ok for step in self._over(levels)):
            return None
        return _spoken(self._judged(levels), lasts=True)

    def _over(self, levels: Sequence[Step]) -> Sequence[Step]:
        return levels if self._live.ended_at_s is not None else levels[:-1]

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
        over = self._over(levels)
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
            over=False,
        )
        return verdict.judge(evidence)

    def _level_lines(self, now_s: float) -> Iterator[Sequence[object]]:
        levels = [_flat(step) for step in self._steps(now_s)]
        yield list(levels[0]) if levels else []
        yield from (list(level.values()) for level in levels)


def install(
    environment: Environment,
    grafana_url: str | None,
    change_tpm: Callable[[str], str],
    form: Callable[[], Sequence[Field]],
) -> LivePage | None:
    """None where there is no web UI; see `exporters.web.tab.install`."""
    columns = [head.replace("\n", " ") for head in _full_headings(open_mode=True)]
    columns[1] = "target TPM or developers"
    tab = web_tab.install(
        environment, columns=columns, grafana_url=grafana_url, change_tpm=change_tpm, form=form
    )
    return None if tab is None else LivePage(tab)


def _spoken(judged: verdict.Verdict, lasts: bool = False) -> Verdict:
    """lasts: the run goes on."""
    return Verdict(
        judged.grade,
        f"{len(judged.passed)} of {len(judged.checks)} checks passed",
        [f"{check.grade}: {verdict_text.sentence(check)}" for check in judged.reasons],
        [_open(check, lasts) for check in judged.unchecked],
    )


def _open(check: verdict.Check, lasts: bool) -> str:
    if lasts and check.finding == NO_LAST_LINE:
        return f"{check.name}: told at the end of the run."
    return verdict_text.sentence(check)


def endpoint_now(levels: Sequence[Step], slos: Sequence[Slo]) -> Endpoint:
    """How the endpoint does at the last level of which enough was seen; the worst comes first."""
    seen = [step for step in levels if step.window[1] - step.window[0] >= ENOUGH_S]
    if not seen or not seen[-1].summary.requests:
        return Endpoint("nothing to say yet", "too little of a level has passed", None)
    step = seen[-1]
    at, summary = f"level {step.level.index}", step.summary
    if (summary.failure_share or 0.0) > FAILING_SHARE:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.failures.items())
        return Endpoint("fails", f"{share_text(summary.failure_share)} at {at}: {kinds}", False)
    if not verdict.kept_up(summary):
        answered = (summary.achieved_tpm or 0.0) / (summary.offered_tpm or 1.0)
        return Endpoint("falls behind", f"answers {answered:.0%} of the offer at {at}", False)
    missed = [slo for slo in slos if slo.judge(summary).met is False]
    if missed:
        return Endpoint("misses", f"{', '.join(map(slo_text, missed))} at {at}", False)
    return Endpoint("keeps up", f"with {tpm_text(summary.offered_tpm)} input TPM at {at}", True)


def _point(step: Step) -> dict[str, float | None]:
    """Of the curve by level."""
    summary = step.summary
    return {
        "index": step.level.index,
        "offered_tpm": summary.offered_tpm,
        "ttft_p50_s": summary.ttft_s.p50,
        "ttft_p90_s": summary.ttft_s.p90,
        "tps_p50": summary.decode_tps.p50,
    }


def _copy_hint(folder: Path) -> str:
    """How to get a run's folder out of the container of the shipped docker-compose.yml."""
    service = os.environ.get(COMPOSE_SERVICE_VARIABLE)
    return f"docker compose cp {service}:{folder.resolve()} ." if service else ""


def _heading(run: Run) -> dict[str, Any]:
    return {
        "run": run.terms.name,
        "target": target_text(run.header),
        "simulated": run.terms.target.simulated,
        "profile": run.source.name,
        "seed": run.options.seed,
        "slos": [
            {
                "metric": slo.metric,
                "percent": slo.percent,
                "threshold": slo.threshold,
                "text": slo_text(slo),
            }
            for slo in run.options.gate.slos or (Slo.parse(DEFAULT_OBJECTIVE),)
        ],
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
            line |= {f"{name}_{part}": n for part, n in value.items() if part[0] != "_"}
        else:
            line[name] = value
    return line
