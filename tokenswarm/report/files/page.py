"""Page: a run as one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenswarm.measure.verdict import GRADES, INVALID
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.figures.canvas import COLOURS, look
from tokenswarm.report.figures.curves import CURVES
from tokenswarm.report.figures.distributions import DISTRIBUTIONS
from tokenswarm.report.figures.timeline import MOST_DOTS, NARROW, TIMELINE
from tokenswarm.report.files.svg import inline, picture
from tokenswarm.report.files.templating import templates
from tokenswarm.report.notation import TOO_FEW, number_text, slo_text, tpm_text
from tokenswarm.report.text import bills, books, failures, headline, routing, workload
from tokenswarm.report.text import jobs as jobs_text
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.definitions import DEFINITIONS
from tokenswarm.report.text.levels import notes
from tokenswarm.report.text.surroundings import command, surroundings
from tokenswarm.report.text.tables import (
    ANSWERS,
    TRAFFIC,
    checks,
    levels,
    objectives,
)
from workload.whole_file import replace_file


def write_page(path: Path, found: Result, against: str = "") -> None:
    """Writes the file whole or not at all. Raises OSError."""
    replace_file(path, page(found, against).encode("utf-8", "replace"))


def page(found: Result, against: str = "") -> str:
    """The page's HTML; against: what a baseline said, a line each."""
    return (
        templates().get_template("page.html").render(_contents(found), against=against.splitlines())
    )


def _contents(found: Result) -> dict[str, Any]:
    header, turns = found.ledger.header, len(found.ledger.records)
    whole = levels(found)
    loads = sum(step.summary.requests > 0 for step in found.steps)
    with look():
        # Of one level there is no curve: its figures and intervals are in the table.
        curves = [picture(drawing, found) for drawing in CURVES] if loads > 1 else []
        timeline = [picture(TIMELINE, found), inline(TIMELINE, found, NARROW)] if turns else []
        distributions = [picture(drawing, found) for drawing in DISTRIBUTIONS] if turns else []
    return {
        "run": header.run,
        "simulated": header.target.simulated,
        "headline": headline.headline(found),
        "details": headline.details(found),
        "tiles": _tiles(found),
        "verdict": found.verdict,
        "grades": GRADES,
        "verdict_text": verdict_text.headline(found.verdict),
        "sentence": verdict_text.sentence,
        "curves": curves,
        "timeline": timeline,
        "dots": f"{MOST_DOTS:,} of {turns:,} turns are drawn." if turns > MOST_DOTS else "",
        "distributions": distributions,
        "levels": whole.picked("levels", "Levels: traffic and TTFT", TRAFFIC),
        "answers": whole.picked("answers", "Levels: answers and cache", ANSWERS),
        "objectives": objectives(found),
        "failures": failures.by_level(found),
        "turns": turns,
        "failure_kinds": failures.by_kind(found),
        "workload": workload.table(found.workload) if turns else None,
        "books": books.table(found.books),
        "jobs": jobs_text.jobs(found),
        "job_sentences": [*jobs_text.sentences(found)],
        "routing": routing.table(found.routing),
        "routing_sentences": [*routing.sentences(found.routing)] if found.routing else [],
        "bills": bills.bills(found),
        "bill_sentences": bills.sentences(found),
        "checks": checks(found),
        "notes": notes(found.ledger, found.steps, found.whole),
        "command": command(found),
        "surroundings": surroundings(found),
        "definitions": DEFINITIONS,
        "colours": COLOURS,
    }


def _tiles(found: Result) -> list[tuple[str, str, str, bool]]:
    """(what, figure, beside it, whether that is bad): the few numbers that a reader takes away; of
    an INVALID run no capacity and no knee."""
    whole = found.whole
    tiles = [] if found.verdict.grade == INVALID else [*_capacity_tile(found), *_knee_tile(found)]
    failed = f"{whole.failed:,} failed" + (
        f" ({', '.join(whole.failures)})" if whole.failures else ""
    )
    tiles.append(("turns", f"{whole.requests:,}", failed, whole.failed > 0))
    if whole.output_tps is not None:
        rates = [step.summary.output_tps or 0.0 for step in found.steps]
        per_gpu = found.curve.per_gpu(Interval(max(rates, default=0.0))).value
        beside = "in all, at the level with most" + (
            "" if per_gpu is None else f"; {number_text(per_gpu)} per GPU"
        )
        tiles.append(("output tokens per second", number_text(max(rates)), beside, False))
    if whole.new_tokens.mean is not None:
        beside = f"p50 {whole.new_tokens.p50:,.0f}: moves TTFT more than anything else"
        tiles.append(("new tokens per turn", f"{whole.new_tokens.mean:,.0f}", beside, False))
    return tiles


def _capacity_tile(found: Result) -> list[tuple[str, str, str, bool]]:
    if not found.curve.capacities or found.curve.capacities[-1].tpm.value is None:
        return []
    capacity = found.curve.capacities[-1]
    per_gpu = found.curve.per_gpu(capacity.tpm).value
    beside = " and ".join(map(slo_text, capacity.slos))
    if per_gpu is not None:
        beside += f"; {tpm_text(per_gpu)} per GPU"
    mark = "" if capacity.claimed else TOO_FEW
    return [("capacity, input TPM", tpm_text(capacity.tpm.value) + mark, beside, False)]


def _knee_tile(found: Result) -> list[tuple[str, str, str, bool]]:
    knee = found.curve.knee
    if knee.tpm.value is None:
        return []
    beside = f"TTFT p50 {number_text(knee.ttft_p50_s)} s there"
    return [("knee, input TPM", tpm_text(knee.tpm.value), beside, False)]
