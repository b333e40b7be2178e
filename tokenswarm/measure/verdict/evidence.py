"""Evidence: what a run is judged on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenswarm.measure.books import Entry
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.quantiles import claimable
from tokenswarm.measure.routing import Routing
from tokenswarm.measure.tally import Summary
from tokenswarm.measure.window import KEPT_UP_SHARE
from workload.figures import Row

CLOCKS_S = 0.5  # within that a worker's clock is its master's (tokenswarm/shell/shared_clock)
BEFORE = "the ledger is of an earlier version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a run is judged on. levels: each without its warm-up; steady: of each level, None where
    that cannot be told; workload: realised against promised, empty where nothing was promised."""

    ledger: Ledger
    levels: Sequence[Summary]
    whole: Summary
    steady: Sequence[bool | None]
    workload: Sequence[Row]
    books: Sequence[Entry] = ()  # the server's own counts beside ours; none: no page was asked
    routing: Routing | None = None  # None: nothing tells replicas apart
    over: bool = True  # False: judged while the run goes on

    @property
    def speed(self) -> float:
        return self.ledger.header.speed

    @property
    def unit(self) -> str:
        """What a second of the run is."""
        return "engine s" if self.ledger.header.engine_seconds else "s"

    @property
    def lowest_ttft_s(self) -> float | None:
        """The lowest p50 TTFT of the levels that have one to claim."""
        claimed = [s.ttft_s.p50 for s in self.levels if claimable(0.5, s.ttft_s.count)]
        return min((ttft_s for ttft_s in claimed if ttft_s is not None), default=None)

    @property
    def health(self) -> list[Health]:
        """Of every process, from the start of the first level to the end of the last; an interval
        ends a message's way later on a worker, and not at all there in ledgers of earlier versions:
        one counts that lies for the most part before the end."""
        levels = self.ledger.levels
        if not levels:
            return self.ledger.health
        start_s, end_s = levels[0].started_at_s, levels[-1].ended_at_s
        return [
            health
            for health in self.ledger.health
            if health.at_s - (health.interval_s - CLOCKS_S) * self.speed >= start_s
            and (end_s is None or health.at_s - health.interval_s * self.speed / 2 <= end_s)
        ]


def kept_up(summary: Summary) -> bool:
    """Whether the endpoint answered what was offered; not where nothing was."""
    offered_tpm = summary.offered_tpm or 0
    return 0 < offered_tpm * KEPT_UP_SHARE <= (summary.achieved_tpm or 0)


def known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def listed(levels: Sequence[int]) -> str:
    return f"level{'s' if len(levels) > 1 else ''} {', '.join(map(str, levels))}"
