"""The end of a run: its last ledger line; tables in the terminal, summary and page beside it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent

from tokenswarm.measure.ending import Ending
from tokenswarm.measure.ledger import read_run
from tokenswarm.report.analysis.result import Result, result
from tokenswarm.report.files.summary import write_summary
from tokenswarm.report.text import terminal
from tokenswarm.shell.link import MasterLink
from tokenswarm.shell.preflight import EndpointError, simulation
from tokenswarm.shell.run import Run

PAGE = "report.html"  # in the run's folder


def ending(run: Run, link: MasterLink | None) -> Ending:
    """How the run ended. link: to the workers, on a master."""
    # In driven time there is nothing that it could be late against.
    said = _engine(run) if run.terms.target.simulated and not run.clock.driven else {}
    return Ending(
        at_s=run.clock.now_s(),
        salted=bool(run.terms.salt),
        workers=None if link is None else link.workers_seen,
        workers_lost=0 if link is None else link.workers_lost,
        workers_unreported=0 if link is None else link.workers_unreported,
        engine_lateness_p99_s=said.get("lateness_p99_s"),
        engine_arrival_lateness_p99_s=said.get("arrival_lateness_p99_s"),
        stopped=run.stopped,
        clock_lost=run.clock_lost,
    )


def save_rest(run: Run) -> None:
    """Says where the lines of the ledger are that its disk did not take."""
    try:
        rest = run.save_rest()
    except OSError as error:
        lines = run.writer.unsaved.count(b"\n")
        print(f"\ntokenswarm: {lines} lines of {run.writer.path} are lost: {error}")
        return
    if rest is not None:
        print(
            f"\ntokenswarm: {run.writer.path} is incomplete, its disk took no more. The rest, once "
            f"there is room: cat {rest} >> {run.writer.path}"
        )


def show(run: Run) -> Result:
    """Prints what the run's ledgers say and writes summary and page. A run without a finished turn
    has both too: its verdict is INVALID, no data is no success."""
    ledger = read_run(run.folder, chunk_gaps=False)
    if not ledger.records:
        print(f"\ntokenswarm: no turn was finished; ledger in {run.folder}")
    found = result(ledger, run.options.gate.slos)
    print(f"\n{terminal.text(found)}")
    try:
        _write(run, found)
    except OSError as error:
        print(f"\ntokenswarm: no summary and page in {run.folder}: {error}")
    return found


def _write(run: Run, found: Result) -> None:
    write_summary(run.folder / "summary.json", found)
    # matplotlib: half a second to import, and a worker never needs it.
    from tokenswarm.report.files.page import write_page

    page = run.folder / PAGE
    # In a thread: drawing takes seconds, and a master answers its workers and browsers meanwhile.
    failed = gevent.get_hub().threadpool.apply(_tried, (write_page, page, found))
    if failed is not None:
        raise failed
    print(f"\npage: {page}   again, from the ledger: tokenswarm report {run.folder}")


def _tried(write: Callable[[Path, Result], None], page: Path, found: Result) -> OSError | None:
    try:
        write(page, found)
    except OSError as error:
        return error  # gevent's threads print a traceback of what they raise
    return None


def _engine(run: Run) -> dict[str, Any]:
    """What the embedded engine says of itself and of this run's stretch of time, empty where it no
    longer answers."""
    wall_s = run.clock.wall_s(run.clock.now_s())
    try:
        with closing(run.client()) as client:
            return simulation(client, run.options, last_s=max(0.0, wall_s))
    except EndpointError:
        return {}
