"""Result: everything that a run says, worked out once for terminal, page and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenswarm.measure.books import Entry, reconcile
from tokenswarm.measure.columns import Columns
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.routing import Routing, routing
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.tally import Summary, Tally
from tokenswarm.measure.verdict import Evidence, Verdict, judge
from tokenswarm.report.analysis import sent
from tokenswarm.report.analysis.curve import Curve, curve
from tokenswarm.report.analysis.jobs import Jobs, jobs
from tokenswarm.report.analysis.steps import Step, steps, whole_run
from workload.figures import Row, Sample

DEFAULT_OBJECTIVE = "ttft_p50<1s"  # what the study calls usable


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """sent: the turns that `workload` is judged on; slos: those asked for; objectives: what goodput
    and capacity are of, DEFAULT_OBJECTIVE where none was asked for; books: the server's counts
    beside ours, none where none of its pages was asked; routing: None where nothing tells replicas
    apart; jobs: sessions as tasks, None where none ended."""

    ledger: Ledger
    steps: tuple[Step, ...]
    whole: Summary
    curve: Curve
    sent: Sample
    workload: tuple[Row, ...]
    books: tuple[Entry, ...]
    routing: Routing | None
    jobs: Jobs | None
    verdict: Verdict
    slos: tuple[Slo, ...]
    objectives: tuple[Slo, ...]
    columns: Columns


def result(ledger: Ledger, slos: Sequence[Slo] = ()) -> Result:
    tally = Tally(ledger.records)
    levels, whole = steps(ledger, tally=tally), whole_run(ledger, tally=tally)
    objectives = tuple(slos) or (Slo.parse(DEFAULT_OBJECTIVE),)
    bends = curve(ledger, levels, objectives, tally=tally)
    turns = sent.sent(ledger, levels)
    rows = sent.rows(ledger, turns)
    books = reconcile(ledger.records, ledger.server)
    routed = routing(ledger.records, ledger.server)
    evidence = Evidence(
        ledger=ledger,
        levels=[step.summary for step in levels],
        whole=whole,
        steady=[point.steadiness.steady for point in bends.points],
        workload=rows,
        books=books,
        routing=routed,
    )
    return Result(
        ledger=ledger,
        steps=tuple(levels),
        whole=whole,
        curve=bends,
        sent=turns,
        workload=tuple(rows),
        books=books,
        routing=routed,
        jobs=jobs(ledger.records, ledger.header.target.gpus),
        verdict=judge(evidence),
        slos=tuple(slos),
        objectives=objectives,
        columns=tally.columns,
    )
