"""Jobs: sessions as tasks, in lines and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill

from tokenswarm.report.analysis.bill import per_request
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.notation import interval_text, number_text, usd_text
from tokenswarm.report.text.bills import prices, request_of
from tokenswarm.report.text.levels import WIDTH
from tokenswarm.report.text.table import Cell, Column, Table, plain

# Of the tasks that ended, how many more or fewer may be under way at the end (guess).
_MOST_SHIFT = 0.2

COLUMNS = (Column("quantity", "sessions as tasks", words=True), Column("value", "", True))


def text(found: Result) -> str:
    """The table, what it is of below."""
    said = [fill(line, WIDTH) for line in sentences(found)]
    return "\n".join([plain(jobs(found)), "", *said])


def jobs(found: Result) -> Table:
    """A row a figure; empty where no task ended."""
    seen = found.jobs
    rows = []
    for name, value in (
        ()
        if seen is None
        else (
            ("time per task, mean, s", seen.task_s),
            ("time per task, p50, s", seen.task_p50_s),
            ("of it waiting for the model, mean, s", seen.waiting_s),
            ("waiting minutes per developer-hour", seen.waiting_minutes_per_developer_hour),
            ("tasks per hour", seen.tasks_per_hour),
            ("tasks per GPU-hour", seen.tasks_per_gpu_hour),
            ("turns per task", seen.turns_per_task),
        )
    ):
        if value.value is not None:
            rows.append((Cell(name, name), Cell.of(value, number_text)))
    return Table("jobs", "Sessions as tasks", COLUMNS, tuple(rows))


def sentences(found: Result) -> Iterator[str]:
    """How what the run cut is counted, and what a task costs."""
    seen = found.jobs
    if seen is None:
        return
    yield (
        f"{seen.ended:,} tasks ended in the run; {seen.met:,} were met in mid-life and "
        f"{seen.cut:,} cut by its end: means are totals over tasks that ended, the p50 counts cut "
        "tasks as longer than what was seen of them."
    )
    if abs(seen.cut - seen.met) > _MOST_SHIFT * seen.ended:
        grew = seen.cut > seen.met
        more, high, low = ("more", "high", "low") if grew else ("fewer", "low", "high")
        yield (
            f"NOT STEADY: {more} tasks were under way at the end than at the beginning, so "
            f"mean time, waiting, turns and cost per task lean {high}, tasks per hour {low}; hold "
            "for longer."
        )
    request = request_of(found)
    if request is None or seen.turns_per_task.value is None:
        return
    costs = []
    for price in prices():
        paid = per_request(price, request)
        usd = paid.without_cache_usd if paid.with_cache_usd is None else paid.with_cache_usd
        if usd is not None and usd > 0:
            whole = seen.turns_per_task.scaled(usd)
            costs.append(f"{price.model} {interval_text(whole, usd_text)}")
    if costs:
        yield f"A task at list prices, cache discounts where there are any: {'; '.join(costs)}."
