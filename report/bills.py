"""Bills: what requests like those of a run cost at list prices, for its page and files."""

from __future__ import annotations

from collections.abc import Iterable

from report.cost import Bill, Price, Request, Team, list_bill
from report.notation import share_text, tpm_text, usd_text
from report.prices import SHIPPED, read_prices
from report.result import Result
from report.tables import Cell, Column, Table

TEAM = Team()
COLUMNS = (
    Column("model", "price list"),
    Column("cache", "discounts"),
    Column("request_usd", "per request"),
    Column("input_million_usd", "per M input"),
    Column("cached_million_usd", "per M cached"),
    Column("output_million_usd", "per M output"),
    Column("developer_day_usd", "developer-day"),
    Column("team_year_usd", "team-year"),
)


def request_of(found: Result) -> Request | None:
    """The mean request of the run; None where nobody knows how long replies were."""
    whole = found.whole
    if not whole.prompt_tokens.mean or whole.output_tokens.mean is None:
        return None
    cached = None if whole.hit_share is None else whole.hit_share * whole.prompt_tokens.mean
    return Request(
        input_tokens=whole.prompt_tokens.mean,
        cached_tokens=cached,
        output_tokens=whole.output_tokens.mean,
    )


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
        f"A mean request of this run: {request.input_tokens:,.0f} tokens in, {share_text(hit)} of "
        f"them cached, {request.output_tokens:,.0f} out. A team: {TEAM.developers} developers, "
        f"{tpm_text(TEAM.tpm)} input TPM, {TEAM.hours_per_day:g} h a day, "
        f"{TEAM.days_per_year:g} days a year. US dollars at list prices; rented GPUs: "
        "python -m report cost.",
        *(f"{price.model}: as of {price.as_of.isoformat()}, {price.source}" for price in prices()),
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
