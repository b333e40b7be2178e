"""CapacitySearch: looks for the highest TPM that meets the --slo's, while traffic runs."""

from __future__ import annotations

from locust.runners import MasterRunner

from tokenswarm.measure.no_result import no_result
from tokenswarm.measure.record import UNSENT, Level, TurnRecord
from tokenswarm.measure.search import Search, hold_s, turns_needed
from tokenswarm.measure.tally import Tally
from tokenswarm.measure.window import WARM_UP_SHARE
from tokenswarm.report.notation import tpm_text
from tokenswarm.report.text.objectives import cell_text
from tokenswarm.shell.rate_shape import RateShape
from tokenswarm.shell.run import Run
from workload.source import mean_prompt_tokens

# Wall time after which the master knows what its workers knew: they report every 3 s (Locust's
# WORKER_REPORT_INTERVAL); with room for two.
_SETTLE_S = 8.0


class CapacitySearch(RateShape):
    """Doubles, then bisects; ends when the capacity is known."""

    abstract = False
    options_of = "capacity"
    searches = True  # levels are meant to miss: the SLOs guide the search and judge nothing

    def begin(self, run: Run) -> None:
        search = run.options.search
        self._search = Search(
            lowest_tpm=search.lowest_tpm,
            highest_tpm=search.highest_tpm,
            tolerance=search.tolerance,
        )
        self._mean_prompt_tokens = mean_prompt_tokens(run.source)
        self._turns: list[TurnRecord] = []
        self._level: Level | None = None
        self._rested_at_s: float | None = None
        run.feed.subscribe(self._take)

    def drive(self, run: Run) -> bool:
        if self._level is None:
            return self._begin_level(run)
        now_s = run.clock.now_s()
        if self._rested_at_s is None:
            if now_s >= self._level.started_at_s + self._hold_s(run, self._level.target_tpm or 0.0):
                self.levels.rest()
                self._rested_at_s = now_s
        elif self._is_drained(run) or now_s > self._rested_at_s + run.options.drain_s:
            self._judge(run, self._level, self._rested_at_s)
        return True

    def _begin_level(self, run: Run) -> bool:
        tpm = self._search.next_tpm
        if tpm is None:
            run.feed.unsubscribe(self._take)
            print(self._answer(run), flush=True)
            return False
        self._turns.clear()
        levels = self.levels
        levels.begin(
            tpm=tpm, ramp_s=min(run.options.ramp_s, WARM_UP_SHARE * self._hold_s(run, tpm))
        )
        self._level = levels.current
        return True

    def _hold_s(self, run: Run, tpm: float) -> float:
        turns = turns_needed(run.options.gate.slos)
        return hold_s(tpm, self._mean_prompt_tokens, turns, WARM_UP_SHARE, run.options.hold_s)

    def _is_drained(self, run: Run) -> bool:
        assert self._rested_at_s is not None
        rested_s = run.clock.wall_s(run.clock.now_s() - self._rested_at_s)
        settle_s = _SETTLE_S if isinstance(self.runner, MasterRunner) else 0.0
        return rested_s >= settle_s and self.levels.in_flight() == 0

    def _judge(self, run: Run, level: Level, ended_at_s: float) -> None:
        """The level is met if every SLO is; one that too few turns lived to tell is missed."""
        start_s = level.started_at_s + WARM_UP_SHARE * (ended_at_s - level.started_at_s)
        summary = Tally(self._turns).summary((start_s, ended_at_s))
        judgements = [slo.judge(summary) for slo in run.options.gate.slos]
        answers = [f"{each.slo.text}: {cell_text(each)}" for each in judgements]
        unsent = sum(turn.kind == UNSENT for turn in self._turns)
        if unsent:
            answers.append(f"{unsent} turns found no free developer")
        if not self._is_drained(run):
            answers.append("turns are still under way")
        reason = no_result(summary)
        if reason:
            answers.append(f"no result: {reason}")
        met = (
            all(each.met for each in judgements)
            and self._is_drained(run)
            and not unsent
            and not reason
        )
        print(
            f"capacity search: {tpm_text(level.target_tpm)} {'met' if met else 'MISSED'}, "
            f"{summary.requests} turns ({'; '.join(answers)})",
            flush=True,
        )
        self._search = self._search.answered(met)
        self._level = self._rested_at_s = None

    def _answer(self, run: Run) -> str:
        slos = ", ".join(slo.text for slo in run.options.gate.slos)
        met, missed = self._search.met_tpm, self._search.missed_tpm
        if met is None:
            return f"capacity under {slos}: below {tpm_text(missed)}, the lowest rate tried"
        if missed is None:
            return f"capacity under {slos}: above {tpm_text(met)}, the highest rate tried"
        return f"capacity under {slos}: {tpm_text(met)} is met, {tpm_text(missed)} is missed"

    def _take(self, turn: TurnRecord) -> None:
        self._turns.append(turn)
