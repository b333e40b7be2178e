"""tokenswarm cost [RUN]: what requests like a run's cost, at list prices and on rented GPUs.

    tokenswarm cost --input 88k --cached 96% --output 450
    tokenswarm cost runs/demo --model claude-opus-4-6 --gpu-hour 4.50 --slo 'ttft_p50<1s'

Exit codes: 0 fine, 2 bad input.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill

from tabulate import tabulate

from tokenswarm.measure.amounts import parse_share, parse_tokens, parse_tpm
from tokenswarm.measure.ledger import Ledger, open_run
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.tally import Summary
from tokenswarm.report.analysis.bill import (
    Amount,
    Bill,
    Gpus,
    Price,
    Request,
    Team,
    gpu_bill,
    list_bill,
    usd_per_input_million,
)
from tokenswarm.report.analysis.curve import curve
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.prices import SHIPPED, chosen, read_prices
from tokenswarm.report.analysis.result import result
from tokenswarm.report.analysis.steps import steps, whole_run
from tokenswarm.report.notation import (
    UNKNOWN,
    interval_text,
    number_text,
    share_text,
    target_text,
    tpm_text,
    usd_text,
)
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.levels import WIDTH

STUDY = Team()
COLUMNS = (
    "",
    "",
    "per\nrequest",
    "per M\ninput",
    "per M\ncached",
    "per M\noutput",
    "developer\n-day",
    "team-year",
)


def main(arguments: Sequence[str]) -> int:
    """Raises ValueError or OSError for bad input."""
    options = parser().parse_args(arguments)
    prices = chosen(read_prices(options.prices), options.model, options.prices)
    team = Team(
        developers=options.developers,
        tpm=parse_tpm("--tpm", options.tpm),
        hours_per_day=options.hours,
        days_per_year=options.days,
    )
    ledger = None if options.run is None else open_run(options.run)
    request = _request(options, None if ledger is None else whole_run(ledger))
    parts = [] if ledger is None else [_measured(ledger)]
    parts.append(invoice(request, prices, team))
    if options.gpu_hour is not None:
        parts.append(_gpu_text(options, request, team, ledger))
    print("\n\n".join(parts))
    return 0


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenswarm cost", description="What requests cost, with and without cache."
    )
    parser.add_argument("run", nargs="?", type=Path, help="a run's directory or ledger")
    parser.add_argument("--input", metavar="TOKENS", help="per request, instead of the run's mean")
    parser.add_argument("--cached", metavar="SHARE", help="of the input, such as 96%%")
    parser.add_argument("--output", metavar="TOKENS", help="per request")
    parser.add_argument("--prices", type=Path, default=SHIPPED, metavar="FILE", help="price table")
    parser.add_argument("--model", action="append", default=[], help="of the table; repeatable")
    parser.add_argument("--developers", type=_count, default=STUDY.developers, help="in the team")
    parser.add_argument("--tpm", default="1.5M", help="input tokens per minute of the team")
    parser.add_argument("--hours", type=_above_zero, default=STUDY.hours_per_day, help="a day")
    parser.add_argument("--days", type=_above_zero, default=STUDY.days_per_year, help="a year")
    parser.add_argument("--gpu-hour", type=_above_zero, metavar="USD", help="price of a GPU")
    parser.add_argument("--gpus", type=_count, help="instead of the run's")
    parser.add_argument("--capacity", metavar="TPM", help="instead of the run's under --slo")
    parser.add_argument("--slo", action="append", default=[], help="what capacity is found under")
    return parser


def invoice(request: Request, prices: Iterable[Price], team: Team) -> str:
    """A table: two rows for each price, without and with cache discounts."""
    prices = list(prices)
    rows = []
    for price in prices:
        rows += _rows(price.model, list_bill(price, request, team))
    sources = [f"{price.model}: {price.as_of}, {price.source}" for price in prices]
    return "\n".join(
        [_request_text(request), _team_text(request, team), "", _table(rows), *sources]
    )


def _rows(name: str, bill: Bill) -> list[list[str]]:
    def row(label: str, mark: str, pick: str, cached_usd: float | None) -> list[str]:
        def amount(of: Amount) -> str:
            return usd_text(getattr(of, pick))

        return [
            label,
            mark,
            amount(bill.request),
            amount(bill.input_million),
            usd_text(cached_usd),
            usd_text(bill.output_million_usd),
            amount(bill.developer_day),
            amount(bill.team_year),
        ]

    return [
        row(name, "no cache", "without_cache_usd", None),
        row("", "cache", "with_cache_usd", bill.cached_million_usd),
    ]


def _table(rows: list[list[str]]) -> str:
    return tabulate(rows, COLUMNS, disable_numparse=True, colalign=("left", "left", *["right"] * 6))


def _request_text(request: Request) -> str:
    cached = "unknown"
    if request.cached_tokens is not None:
        cached = share_text(request.cached_tokens / request.input_tokens)
    return (
        f"A request: {request.input_tokens:,.0f} tokens in ({cached} of them cached), "
        f"{request.output_tokens:,.0f} out. US dollars."
    )


def _team_text(request: Request, team: Team) -> str:
    return (
        f"A team: {team.developers} developers, {tpm_text(team.tpm)} input TPM, "
        f"{team.hours_per_day:g} h a day, {team.days_per_year:g} days a year: "
        f"{team.requests_per_year(request):,.0f} requests a year."
    )


def _request(options: argparse.Namespace, summary: Summary | None) -> Request:
    input_tokens = None if summary is None else summary.prompt_tokens.mean
    output_tokens = None if summary is None else summary.output_tokens.mean
    hit_share = None if summary is None else summary.hit_share
    if options.input is not None:
        input_tokens = parse_tokens("--input", options.input)
    if options.output is not None:
        output_tokens = parse_tokens("--output", options.output)
    if options.cached is not None:
        hit_share = parse_share("--cached", options.cached)
    for option, tokens in (("--input", input_tokens), ("--output", output_tokens)):
        if tokens is None:
            raise ValueError(f"{option} is missing; accepted: tokens per request, or a RUN")
    assert input_tokens is not None and output_tokens is not None
    return Request(
        input_tokens=input_tokens,
        cached_tokens=None if hit_share is None else hit_share * input_tokens,
        output_tokens=output_tokens,
    )


def _capacity_tpm(options: argparse.Namespace, ledger: Ledger | None) -> Interval:
    """As given, or of all SLOs together; where they hold up to the highest level, what that
    carried."""
    if options.capacity is not None:
        return Interval(parse_tpm("--capacity", options.capacity))
    slos = [Slo.parse(text) for text in options.slo]
    if ledger is None or not slos:
        return Interval()
    capacities = curve(ledger, steps(ledger), slos).capacities
    return capacities[-1].carried_tpm if capacities else Interval()


def _measured(ledger: Ledger) -> str:
    """What the sizes are of, and whether they can be trusted."""
    verdict = verdict_text.short(result(ledger).verdict)
    return f"Measured: {target_text(ledger.header)}\nThe run is {verdict}."


def _gpu_text(
    options: argparse.Namespace, request: Request, team: Team, ledger: Ledger | None
) -> str:
    count = options.gpus or (None if ledger is None else ledger.header.target.gpus)
    if not count:
        raise ValueError("--gpus is missing; accepted: how many GPUs carry the capacity")
    capacity = _capacity_tpm(options, ledger)
    if capacity.value is None:
        raise ValueError(
            "--gpu-hour needs a capacity; accepted: --capacity TPM, or a RUN and an --slo that a "
            "level meets"
        )
    gpus = Gpus(usd_per_gpu_hour=options.gpu_hour, count=count, capacity_tpm=capacity.value)
    name = f"{gpus.count} GPUs at {usd_text(gpus.usd_per_gpu_hour)} an hour"
    per_million = usd_per_input_million(gpus.usd_per_gpu_hour, gpus.count, capacity)
    note = (
        f"Capacity {interval_text(capacity, tpm_text)} input TPM at full use: "
        f"{interval_text(per_million, usd_text)} per million input tokens. It was measured "
        f"with the cache hits of its run; without cache: {UNKNOWN}, another run tells. "
        f"{number_text(team.tpm / capacity.value)} such systems carry the team."
    )
    return "\n".join([_table(_rows(name, gpu_bill(gpus, request, team))), fill(note, WIDTH)])


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: accepted are whole numbers from 1 on")
    return value


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: accepted are numbers above 0")
    return value
