"""A ladder of TPM levels, then a drain so that no turn under way is lost.

    locust -f locustfiles/tpm_ladder.py --host http://127.0.0.1:8000 --headless \\
        --levels 0.5M,1M,1.5M,2M,2.5M,3M --hold 8m
"""

from __future__ import annotations

from locust import LoadTestShape

from locustfiles import _wiring
from locustfiles._developer import CodingDeveloper
from locustfiles._run import Run
from report.steps import WARM_UP_SHARE

__all__ = ["CodingDeveloper", "TpmLadder"]

# Developers are only places for sessions until a ticket comes, so they may all be made at once;
# this keeps a worker's heartbeat alive meanwhile (guess).
_PLACES_PER_S = 100


class TpmLadder(LoadTestShape):
    """--levels of --hold each, with up to --max-developers sessions; ends when nothing is under
    way any more, or after --drain."""

    open_mode = True  # levels are rates, not users

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None  # the run this ladder climbs in
        self._began_at_s = 0.0

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None and self.runner.environment.parsed_options is not None
        places = (self.runner.environment.parsed_options.max_developers, _PLACES_PER_S)
        run = _wiring.current_run() if self.get_current_user_count() else None
        if run is None or (run is not self._run and self.get_current_user_count() < places[0]):
            return places  # the first tick starts the test; the ramp's end brings the next
        if run is not self._run:
            self._run, self._began_at_s = run, run.clock.now_s()
        return places if self._climb(run, run.clock.now_s() - self._began_at_s) else None

    @staticmethod
    def _climb(run: Run, elapsed_s: float) -> bool:
        """Asks for the level of this moment; False when the ladder is over."""
        levels_tpm, hold_s = run.options.levels_tpm, run.options.hold_s
        levels = _wiring.current_levels()
        step = int(elapsed_s // hold_s)
        if step < len(levels_tpm):
            levels.begin(
                tpm=levels_tpm[step], ramp_s=min(run.options.ramp_s, WARM_UP_SHARE * hold_s)
            )
            return True
        levels.rest()
        overdue = elapsed_s > len(levels_tpm) * hold_s + run.options.drain_s
        return levels.in_flight() != 0 and not overdue
