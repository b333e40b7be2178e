"""Costs: what the requests of a comparison cost, on GPUs of one's own and at list prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokenswarm.report.analysis.bill import (
    Gpus,
    Price,
    Team,
    gpu_bill,
    list_bill,
    per_request,
    usd_per_input_million,
)
from tokenswarm.report.analysis.capacity import Capacity
from tokenswarm.report.analysis.compare import Comparison, StoredRun
from tokenswarm.report.notation import UNKNOWN, share_text, tpm_text, usd_text
from tokenswarm.report.text.side_by_side import grade, names, objectives_text
from tokenswarm.report.text.table import Cell, Column, Table

TEAM = Team()


@dataclass(frozen=True, slots=True)
class Rates:
    """gpu_hour_usd: by the name of a target, "" for all others; prices: of lists."""

    gpu_hour_usd: Mapping[str, float]
    prices: tuple[Price, ...]

    def gpu_hour(self, name: str) -> float | None:
        return self.gpu_hour_usd.get(name, self.gpu_hour_usd.get(""))


def own_gpus(found: Comparison, rates: Rates) -> Table:
    """A row for each run whose GPUs, their price and whose capacity are known."""
    columns = (
        Column("target", "target", words=True),
        Column("gpus", "GPUs"),
        Column("gpu_hour_usd", "a GPU-hour"),
        Column("capacity_tpm", "carries, input TPM"),
        Column("input_million_usd", "per M input", True),
        Column("request_usd", "per request"),
        Column("team_year_usd", "team-year"),
        Column("verdict", "verdict", words=True),
    )
    rows = []
    for n, (name, run, capacity) in enumerate(
        zip(names(found), found.runs, found.capacities, strict=True)
    ):
        hour_usd, count = rates.gpu_hour(found.names[n]), run.header.target.gpus
        tpm = None if capacity is None else capacity.carried_tpm
        request = found.request(n)
        if hour_usd is None or not count or tpm is None or not tpm.value or request is None:
            continue
        bill = gpu_bill(
            Gpus(usd_per_gpu_hour=hour_usd, count=count, capacity_tpm=tpm.value), request, TEAM
        )
        million = usd_per_input_million(hour_usd, count, tpm)
        request_usd, year_usd = bill.request.with_cache_usd, bill.team_year.with_cache_usd
        rows.append(
            (
                Cell(name, name),
                Cell(str(count), count),
                Cell(usd_text(hour_usd), hour_usd),
                Cell(tpm_text(tpm.value), tpm.value),
                Cell.of(million, usd_text),
                Cell(usd_text(request_usd), request_usd),
                Cell(usd_text(year_usd), year_usd),
                grade(run.verdict),
            )
        )
    return Table("own-gpus", "On GPUs by the hour", columns, tuple(rows))


def lists(found: Comparison, rates: Rates) -> Table:
    """A row for each price and run: the same requests, billed with the run's own cache hits."""
    columns = (
        Column("model", "price list", words=True),
        Column("target", "hits of", words=True),
        Column("hit_share", "cached"),
        Column("without_cache_usd", "a request without discounts"),
        Column("with_cache_usd", "with them"),
        Column("team_year_usd", "team-year with them"),
    )
    rows = []
    for price in rates.prices:
        for n, name in enumerate(names(found)):
            if (request := found.request(n)) is None:
                continue
            cost = per_request(price, request)
            year_usd = list_bill(price, request, TEAM).team_year.with_cache_usd
            hit = request.cached_tokens and request.cached_tokens / request.input_tokens
            rows.append(
                (
                    Cell(price.model, price.model),
                    Cell(name, name),
                    Cell(share_text(hit), hit),
                    Cell(usd_text(cost.without_cache_usd), cost.without_cache_usd),
                    Cell(usd_text(cost.with_cache_usd), cost.with_cache_usd),
                    Cell(usd_text(year_usd), year_usd),
                )
            )
    return Table("list-prices", "At list prices", columns, tuple(rows))


def sentences(found: Comparison, rates: Rates) -> list[str]:
    """What the costs are of."""
    request = found.request(0)
    if request is None:
        return ["Cost is unknown: nobody says how long prompts and replies were."]
    said = [
        f"A request: {request.input_tokens:,.0f} tokens in, {request.output_tokens:,.0f} out, the "
        f"mean of {found.names[0]} at the load of the first table. A team: {TEAM.developers} "
        f"developers, {tpm_text(TEAM.tpm)} input TPM, {TEAM.hours_per_day:g} h a day, "
        f"{TEAM.days_per_year:g} days a year. US dollars."
    ]
    if not rates.gpu_hour_usd:
        said.append("GPUs by the hour: --gpu-hour USD, or NAME=USD for one target.")
        return said
    said.append(
        "GPUs by the hour: price x GPUs / 60 / capacity under "
        f"{objectives_text(found)}, at full use; half the use is twice the price."
    )
    without = [
        f"{name} ({_why_unpriced(run, capacity)})"
        for name, run, capacity, priced in zip(
            found.names, found.runs, found.capacities, _priced(found, rates), strict=True
        )
        if not priced
    ]
    if without:
        said.append(f"Without a price: {', '.join(without)}.")
    return said


def _why_unpriced(run: StoredRun, capacity: Capacity | None) -> str:
    if run.header.target.gpus is None:
        return "its GPUs are unknown, --gpus"
    if capacity is None or capacity.carried_tpm.value is None:
        lowest = capacity is not None and capacity.bound == "below"
        return "no level met the objectives" if lowest else "its capacity is unknown"
    return "no --gpu-hour for it"


def _priced(found: Comparison, rates: Rates) -> list[bool]:
    shown = {row[0].value for row in own_gpus(found, rates).rows}
    return [name in shown for name in names(found)]


def sources(prices: Iterable[Price]) -> list[str]:
    """Where each price comes from."""
    return [f"{price.model}: as of {price.as_of}, {price.source}" for price in prices] or [UNKNOWN]
