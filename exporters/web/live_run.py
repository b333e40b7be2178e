"""A run as it goes, for a page that asks every second: windows of time, levels, single turns.

However long the run lasts, an answer stays small (at most `MOST_WINDOWS` windows and `DOTS` turns,
and of these only what is new) and costs little: a window or a level is summed up anew only when a
turn came into it. All figures are `measure.tally`'s.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, TypeVar

from exporters.turns import Load
from tokenswarm.measure.health import Health
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.tally import Summary, Tally

MOST_WINDOWS = 240  # a point every four pixels or so (guess)
FIRST_WIDTH_S = 30.0  # guess: 14 turns at 2.5M TPM
DOTS = 3000  # guess: more are a cloud

T = TypeVar("T")


@dataclass(slots=True)
class _Stretch:
    """The turns that were due or answered in a stretch of time.

    changed: serial of the last change; summed: the serial and window that `summary` is of.
    """

    changed: int
    turns: list[TurnRecord] = field(default_factory=list)
    reports_cached: bool = False
    load: Load | None = None
    users: int | None = None
    summary: Summary | None = None
    summed: tuple[int, tuple[float, float]] | None = None

    def add(self, turn: TurnRecord, serial: int) -> None:
        self.turns.append(turn)
        self.reports_cached |= turn.cached_tokens is not None
        self.changed = serial

    def joined(self, later: _Stretch | None, serial: int) -> _Stretch:
        """With the stretch that follows; a turn of both counts once."""
        both = [*self.turns, *(later.turns if later else ())]
        last = later if later and later.load else self
        reports_cached = self.reports_cached or (later is not None and later.reports_cached)
        turns = list({id(t): t for t in both}.values())
        return _Stretch(serial, turns, reports_cached, last.load, last.users)


@dataclass(slots=True)
class _LevelStretch(Generic[T]):
    """A level and its turns; step: what they add up to, at the serial `stepped`."""

    level: Level
    stretch: _Stretch
    step: T | None = None
    stepped: int = -1


class LiveRun(Generic[T]):
    """Takes in turns, levels and health, and says at any time how the run stands. `view` and
    `steps` may run in another thread."""

    def __init__(self, step: Callable[[Level, list[TurnRecord]], T]) -> None:
        """step: what the turns of a level (with an end) add up to."""
        self.turns: list[TurnRecord] = []  # without their chunk gaps: most of the memory
        self.health: list[Health] = []
        self.ended_at_s: float | None = None
        self.settled_s = 0.0  # what was due before has ended
        self.phase = 0  # counts beginnings and ends, of levels and of the run
        self._step = step
        self._serial = 0
        self._width_s = FIRST_WIDTH_S
        self._windows: list[_Stretch] = []
        self._levels: list[_LevelStretch[T]] = []
        self._dots: deque[tuple[int, float, float]] = deque(maxlen=DOTS)
        self._reporter: TurnRecord | None = None  # a turn that reports cached tokens

    def add(self, record: TurnRecord) -> None:
        turn = replace(record, chunk_gaps_s=())
        self._serial += 1
        self.turns.append(turn)
        for stretch in (*self._windows_of(turn), *self._levels_of(turn)):
            stretch.add(turn, self._serial)
        if turn.ttft_s is not None and not turn.failed:
            self._dots.append((self._serial, turn.scheduled_at_s, turn.ttft_s))
        if self._reporter is None and turn.cached_tokens is not None:
            self._reporter = turn
            self._change_all()  # what reported none before was a miss

    def add_health(self, health: Health) -> None:
        self.health.append(health)

    def level(self, level: Level) -> None:
        """A level begins, or the last one ends."""
        self._serial += 1
        self.phase += 1
        if self._levels and self._levels[-1].level.index == level.index:
            self._levels[-1].level = level
            self._levels[-1].stretch.changed = self._serial
        else:
            self._levels.append(_LevelStretch(level, _Stretch(self._serial)))

    def sample(self, now_s: float, load: Load, users: int | None = None) -> None:
        """What is under way now, and how many developers there are; a window keeps its last
        sample."""
        window = self._window_at(now_s)
        window.load, window.users = load, users
        self.settled_s = max(self.settled_s, load.settled_s)

    def end(self, now_s: float) -> None:
        self._serial += 1
        self.phase += 1
        self.ended_at_s = self.settled_s = now_s
        for entry in self._levels:
            entry.stepped = -1

    def view(self, now_s: float, *, since: int = -1, seen_s: float = -1.0) -> dict[str, Any]:
        """The state now, of JSON types; of windows and dots only what came after the serial `since`
        and the moment `seen_s` of an earlier view."""
        now_s = now_s if self.ended_at_s is None else self.ended_at_s
        serial, width_s, windows = self._serial, self._width_s, list(self._windows)
        return {
            "serial": serial,
            "now_s": now_s,
            "settled_s": self.settled_s,
            "ended": self.ended_at_s is not None,
            "width_s": width_s,
            "windows": [
                self._window_view(stretch, window)
                for stretch, window in self._over(windows, width_s, now_s)
                if stretch.changed > since or window[1] >= seen_s
            ],
            "dots": [(at_s, ttft_s) for number, at_s, ttft_s in list(self._dots) if number > since],
            "levels": [asdict(entry.level) for entry in list(self._levels)],
        }

    def steps(self, now_s: float) -> list[T]:
        """What each level adds up to; the one that lasts, as if it ended now."""
        return [self._step_of(entry, now_s) for entry in list(self._levels)]

    def _step_of(self, entry: _LevelStretch[T], now_s: float) -> T:
        level, changed = entry.level, entry.stretch.changed
        lasts = level.ended_at_s is None and self.ended_at_s is None
        if entry.step is None or lasts or entry.stepped != changed:
            if level.ended_at_s is None:
                level = replace(level, ended_at_s=now_s if lasts else self.ended_at_s)
            entry.step, entry.stepped = self._step(level, self._turns_of(entry.stretch)), changed
        return entry.step

    def _over(
        self, windows: list[_Stretch], width_s: float, now_s: float
    ) -> Iterator[tuple[_Stretch, tuple[float, float]]]:
        """The windows that are over; once the run has ended the last one as far as it went."""
        for index, stretch in enumerate(windows):
            start_s, end_s = index * width_s, (index + 1) * width_s
            if self.ended_at_s is not None:
                end_s = min(end_s, now_s)
            if start_s < end_s <= now_s:
                yield stretch, (start_s, end_s)

    def _window_view(self, stretch: _Stretch, window: tuple[float, float]) -> dict[str, Any]:
        summary, load = self._summary(stretch, window), stretch.load
        level = self._level_at((window[0] + window[1]) / 2)
        return {
            "start_s": window[0],
            "end_s": window[1],
            "turns": summary.ttft_s.count,
            "ttft_p50_s": summary.ttft_s.p50,
            "ttft_p90_s": summary.ttft_s.p90,
            "ttft_p99_s": summary.ttft_s.p99,
            "tps_p50": summary.decode_tps.p50,
            "tps_p10": summary.decode_tps.p10,
            "offered_tpm": summary.offered_tpm,
            "achieved_tpm": summary.achieved_tpm,
            "cached_tpm": summary.cached_tpm,
            "target_tpm": None if level is None else level.target_tpm,
            "hit_share": summary.hit_share,
            "ideal_hit_share": summary.ideal_hit_share,
            "failed": summary.failed,
            "in_flight": None if load is None else load.in_flight,
            "users": stretch.users,
            "open_sessions": None if load is None else load.open_sessions,
            "told_to_wait": None if load is None else load.told_to_wait,
            "waiting_tickets": None if load is None else load.waiting_tickets,
        }

    def _summary(self, stretch: _Stretch, window: tuple[float, float]) -> Summary:
        summed = (stretch.changed, window)
        if stretch.summary is None or stretch.summed != summed:
            stretch.summary = Tally(self._turns_of(stretch)).summary(window)
            stretch.summed = summed
        return stretch.summary

    def _turns_of(self, stretch: _Stretch) -> list[TurnRecord]:
        """With a turn of elsewhere that reports cached tokens, where there is one and none here:
        whether a turn without them was a miss depends on the whole run."""
        if stretch.reports_cached or self._reporter is None:
            return list(stretch.turns)
        return [*stretch.turns, self._reporter]

    def _windows_of(self, turn: TurnRecord) -> list[_Stretch]:
        ended = self._window_at(turn.ended_at_s)  # the later one first: it may make all wider
        due = self._window_at(turn.scheduled_at_s)
        return [due] if due is ended else [due, ended]

    def _window_at(self, at_s: float) -> _Stretch:
        """The window of this moment; makes it, and all windows wider, where it must."""
        while at_s >= MOST_WINDOWS * self._width_s:
            self._widen()
        index = max(0, int(at_s // self._width_s))
        while index >= len(self._windows):
            self._windows.append(_Stretch(self._serial))
        return self._windows[index]

    def _widen(self) -> None:
        """Windows twice as wide, each of them news: a page drops those that it knows."""
        self._serial += 1
        old = self._windows
        pairs = zip(old[::2], [*old[1::2], None], strict=False)
        self._windows = [first.joined(second, self._serial) for first, second in pairs]
        self._width_s *= 2

    def _levels_of(self, turn: TurnRecord) -> list[_Stretch]:
        entries = {self._index_at(turn.scheduled_at_s), self._index_at(turn.ended_at_s)}
        return [self._levels[index].stretch for index in entries if index >= 0]

    def _index_at(self, at_s: float) -> int:
        """The last level that had begun; -1 before the first."""
        return bisect_right(self._levels, at_s, key=lambda entry: entry.level.started_at_s) - 1

    def _level_at(self, at_s: float) -> Level | None:
        index = self._index_at(at_s)
        if index < 0:
            return None
        level = self._levels[index].level
        return level if level.ended_at_s is None or at_s < level.ended_at_s else None

    def _change_all(self) -> None:
        for stretch in (*self._windows, *(entry.stretch for entry in self._levels)):
            stretch.changed = self._serial
