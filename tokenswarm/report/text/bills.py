"""Bills: what requests like those of a run cost at list prices, for its page and files."""

from __future__ import annotations

from collections.abc import Iterable

from tokenswarm.measure.tally import SECONDS_PER_MINUTE, Summary
from tokenswarm.measure.verdict import kept_up
from tokenswarm.report.analysis.bill import Bill, Price, Request, Team, list_bill
from tokenswarm.report.analysis.prices import SHIPPED, read_prices
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import share_text, tpm_text, usd_text
from tokenswarm.report.text.table import Cell, Column, Table

TEAM = Team()
COLUMNS = (
    Column("model", "price list", words=True),
    Column("cache", "discounts", words=True),
    Column("request_usd", "per request"),
    Column("input_million_usd", "per M input"),
    Column("cached_million_usd", "per M cached"),
    Column("output_million_usd", "per M output"),
    Column("developer_day_usd", "developer-day"),
    Column("team_year_usd", "team-year"),
)


def request_of(found: Result) -> Request | None:
    """The mean request of the levels that the endpoint kept up with, of the whole run where there
    is none: an overloaded cache holds less. None where nobody knows how long replies were."""
    levels = [step.summary for step in found.steps if kept_up(step.summary)] or [found.whole]
    input_tokens = _mean((s.prompt_tokens.mean, s.prompt_tokens.count) for s in levels)
    output_tokens = _mean((s.output_tokens.mean, s.output_tokens.count) for s in levels)
    hit_share = _mean((s.hit_share, _answered_tokens(s)) for s in levels)
    if not input_tokens or output_tokens is None:
        return None
    return Request(
        input_tokens=input_tokens,
        cached_tokens=None if hit_share is None else hit_share * input_tokens,
        output_tokens=output_tokens,
    )


def _mean(weighted: Iterable[tuple[float | None, float]]) -> float | None:
    """Of the known values, each with its weight."""
    known = [(value, weight) for value, weight in weighted if value is not None and weight]
    weight = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / weight if weight else None


def _answered_tokens(summary: Summary) -> float:
    start_s, end_s = summary.window
    return (summary.achieved_tpm or 0.0) * (end_s - start_s) / SECONDS_PER_MINUTE


def bills(found: Result) -> Table:
    """Two rows a price, without and with cache discounts; empty where requests are unknown."""
    request = request_of(found)
    rows: list[tuple[Cell, ...]] = []
    for price in prices() if request is not None else ():
        assert request is not None
        rows += _rows(price, list_bill(price, request, TEAM))
    return Table("bills", "What it costs", COLUMNS, tuple(rows))


def prices() -> Iterable[Price]:
    return read_prices(SHIPPED).values()


def sentences(found: Result) -> list[str]:
    """What the bills are of: request, team, and where each price comes from."""
    request = request_of(found)
    if request is None:
        return []
    hit = None if request.cached_tokens is None else request.cached_tokens / request.input_tokens
    return [
        f"A mean request of the levels it kept up with: {request.input_tokens:,.0f} tokens in, "
        f"{share_text(hit)} of them cached, {request.output_tokens:,.0f} out. "
        f"A team: {TEAM.developers} developers, {tpm_text(TEAM.tpm)} input TPM, "
        f"{TEAM.hours_per_day:g} h a day, {TEAM.days_per_year:g} days a year. "
        "US dollars at list prices; rented GPUs: tokenswarm cost.",
        *(f"{price.model}: as of {price.as_of}, {price.source}" for price in prices()),
    ]


def _rows(price: Price, bill: Bill) -> list[tuple[Cell, ...]]:
    return [
        (
            Cell(price.model, price.model),
            Cell(name, name),
            *(
                Cell(usd_text(usd), usd)
                for usd in (
                    getattr(bill.request, pick),
                    getattr(bill.input_million, pick),
                    bill.cached_million_usd if name == "with" else None,
                    bill.output_million_usd,
                    getattr(bill.developer_day, pick),
                    getattr(bill.team_year, pick),
                )
            ),
        )
        for name, pick in (("without", "without_cache_usd"), ("with", "with_cache_usd"))
    ]
