"""TpmLadder: a ladder of TPM levels, then a drain so that no turn under way is lost."""

from __future__ import annotations

from tokenswarm.measure.window import WARM_UP_SHARE
from tokenswarm.shell.rate_shape import RateShape
from tokenswarm.shell.run import Run


class TpmLadder(RateShape):
    """--levels of --hold each, with up to --max-developers sessions; ends when nothing is under
    way any more, or after --drain."""

    abstract = False
    options_of = "ladder"

    def begin(self, run: Run) -> None:
        self._began_at_s = run.clock.now_s()

    def again_at_s(self, run: Run) -> float:
        now_s, hold_s = run.clock.now_s(), run.options.hold_s
        step = int((now_s - self._began_at_s) // hold_s)
        if step >= len(run.options.levels_tpm):
            return super().again_at_s(run)
        return self._began_at_s + (step + 1) * hold_s

    def drive(self, run: Run) -> bool:
        levels_tpm, hold_s = run.options.levels_tpm, run.options.hold_s
        elapsed_s = run.clock.now_s() - self._began_at_s
        levels = self.levels
        step = int(elapsed_s // hold_s)
        if step < len(levels_tpm):
            levels.begin(
                tpm=levels_tpm[step], ramp_s=min(run.options.ramp_s, WARM_UP_SHARE * hold_s)
            )
            return True
        levels.rest()
        overdue = elapsed_s > len(levels_tpm) * hold_s + run.options.drain_s
        return levels.in_flight() != 0 and not overdue
