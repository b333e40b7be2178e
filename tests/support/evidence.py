"""Evidence of a run that nothing is wrong with, and the verdict on it with changes."""

from __future__ import annotations

from typing import Any

from tests.support.records import header, turn_record
from tokenswarm.measure.books import Entry
from tokenswarm.measure.ending import Ending
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger import Ledger, Target
from tokenswarm.measure.record import Level
from tokenswarm.measure.tally import Tally
from tokenswarm.measure.verdict import Evidence, Verdict, judge
from workload.fidelity import workload
from workload.figures import Row
from workload.profiles import SEED

LEVEL = Level(index=0, target_tpm=12e3, developers=None, started_at_s=0.0, ended_at_s=100.0)


REAL = Target(url="http://127.0.0.1:8000", model="m", simulated=False)


ENDING = Ending(
    at_s=110.0,
    salted=True,
    workers=None,
    workers_lost=0,
    workers_unreported=0,
    engine_lateness_p99_s=None,
    engine_arrival_lateness_p99_s=None,
)


ROW = Row("prompt mean", "tokens", 88_000, "published", 90_000, 0.02, 0.05, "ok")


def turns(count=20, **changes):
    """Turns of a session each, due one after the other; of text that no cache holds beyond 900."""
    return [turn_record(session=f"w0.u{n}.s0", cached_tokens=900, **changes) for n in range(count)]


def health(**changes):
    values: dict[str, Any] = dict(
        process="local",
        at_s=50.0,
        interval_s=10.0,
        hub_lag_p99_s=0.001,
        hub_lag_max_s=0.01,
        cpu_share=0.2,
        rss_bytes=1,
    )
    return Health(**(values | changes))


CALM = (health(),)


def verdict(
    records=None,
    *,
    ending=ENDING,
    intervals=CALM,
    simulated=False,
    speed=1.0,
    steady=(True,),
    rows=(ROW,),
    promised=True,
    torn_lines=0,
    driven=False,
    books=(),
    routed=None,
    level=LEVEL,
    arrival_cv=0.0,
) -> Verdict:
    target = header().target if simulated else REAL
    ledger = Ledger(
        header(target=target, speed=speed, driven=driven, arrival_cv=arrival_cv),
        turns() if records is None else records,
        [level],
        torn_lines,
        list(intervals),
        workload(SEED) if promised else None,
        ending,
    )
    tally = Tally(ledger.records)
    return judge(
        Evidence(
            ledger=ledger,
            levels=[tally.summary((0.0, 100.0))],
            whole=tally.summary((0.0, 1000.0)),
            steady=steady,
            workload=rows,
            books=books,
            routing=routed,
        )
    )


def check(name, *arguments, **keywords):
    return {c.name: c for c in verdict(*arguments, **keywords).checks}[name]


def entry(state, residual, reason=""):
    """Of the server's books, where ours are 1,000 tokens."""
    server = None if residual is None else 1000 * (1 + residual)
    return Entry(
        quantity="prompt tokens",
        server=server,
        ours=1000.0,
        residual=residual,
        state=state,
        reason=reason,
    )
