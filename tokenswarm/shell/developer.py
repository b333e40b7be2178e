"""A coding developer as a Locust user: one task is one turn, the wait between is its pause."""

from __future__ import annotations

from locust import User, task
from locust.env import Environment

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import gevent
from gevent.pool import Group

from tokenswarm.client import chat
from tokenswarm.client.observation import Observation
from tokenswarm.measure.record import MAX_RETRY_AFTER_S, TurnRecord
from tokenswarm.shell import wiring
from tokenswarm.shell.run import Run
from workload.prompts import Conversation
from workload.session import Session, Turn, sessions
from workload.tickets import Due, Place


class TurnFailed(Exception):
    """What Locust's own statistics show of a failed turn: its kind, and nothing unbounded."""


@dataclass(slots=True)
class Work:
    """A session at work: its conversation, and the turn that comes next."""

    session: Session
    conversation: Conversation
    opening: bytes
    turn: Turn
    ready_at_s: float


class Developer:
    """Plans and sends the turns of one session after the other over one connection."""

    def __init__(self, run: Run, environment: Environment) -> None:
        self.run = run
        self.client = run.client()
        self._environment = environment
        self._drift = 1.0

    def open(self, session: Session) -> Work | None:
        """A session's first turn; None when it has none."""
        turn = session.next_turn()
        if turn is None:
            return None
        conversation = self.run.conversation(session, self._drift)
        ready_at_s = self.run.clock.now_s() + turn.gap_s
        return Work(session, conversation, self.run.opening(conversation), turn, ready_at_s)

    def send(self, work: Work, due: Due) -> TurnRecord:
        """Sends the planned turn and plans nothing. One Locust request event per finished turn;
        a turn that the end of the run cuts off goes to the feed alone, as unfinished."""
        run, turn, conversation = self.run, work.turn, work.conversation
        conversation.advance(turn)
        run.pacing.took(conversation.planned_prompt_tokens)
        least = turn.output_tokens if run.options.min_tokens else None
        closing = chat.closing(turn.output_tokens, min_tokens=least, field=run.options.output_field)
        size = len(work.opening) + conversation.body_bytes + len(closing)
        level = run.level
        run.under_way.append(due.at_s)
        run.sent_prompt_tokens += conversation.planned_prompt_tokens
        try:
            seen = self.client.send(
                (work.opening, *conversation.segments, closing),
                size,
                cancel_after_chunks=turn.cancel_after_chunks,
                max_tokens=turn.output_tokens,
            )
        except gevent.GreenletExit:
            if (partial := self.client.partial) is not None:
                run.feed.turn(_record(run, work, level, due, size, partial))
            raise
        finally:
            run.under_way.remove(due.at_s)
        record = _record(run, work, level, due, size, seen)
        if record.prompt_tokens and record.outcome in ("ok", "cancelled"):
            conversation.calibrate(record.prompt_tokens)
            self._drift = conversation.drift
        self._fire(record)
        return record

    def plan(self, work: Work, record: TurnRecord) -> bool:
        """Plans the session's next turn; False when the session is over. A server that said how
        long to stay away is obeyed, within reason; a prompt that was too long for it ends the
        session."""
        turn = None if record.outcome == "context_overflow" else work.session.next_turn()
        if turn is None:
            return False
        asked_s = min(record.retry_after_s or 0.0, MAX_RETRY_AFTER_S)
        pause_s = max(turn.gap_s, asked_s * self.run.clock.speed)
        work.turn, work.ready_at_s = turn, record.ended_at_s + pause_s
        return True

    def finish_subagents(self, work: Work) -> None:
        """Runs the sub-agents that the next turn waits for, side by side."""
        agents = Group()
        try:
            for n in range(work.turn.subagents):
                agents.spawn(self._run_subagent, work.session.subagent(n))
            agents.join(raise_error=True)
        finally:
            agents.kill()
        work.ready_at_s = max(work.ready_at_s, self.run.clock.now_s())

    def _run_subagent(self, session: Session) -> None:
        agent = Developer(self.run, self._environment)
        try:
            work = agent.open(session)
            while work is not None and not self.run.stopping:
                due = self.run.pacing.wait(work.ready_at_s, "ready")
                if not agent.plan(work, agent.send(work, due)):
                    return
        finally:
            agent.client.close()

    def _fire(self, record: TurnRecord) -> None:
        e2e_s = record.e2e_s
        self._environment.events.request.fire(
            request_type="CHAT",
            name="turn",
            response_time=None if e2e_s is None else e2e_s * 1000,
            response_length=record.output_tokens or 0,
            exception=TurnFailed(record.outcome) if record.failed else None,
            context={"turn": record},
        )


class CodingDeveloper(User):
    """One coding developer; abstract: a locustfile makes a class of its own of it. In closed mode
    it follows its own pauses; in open mode it waits for tickets, and is without a session until one
    comes.

    A subclass may set what any Locust user may: `weight`, `fixed_count`, `host`, and `wait_time`,
    which then says in the run's seconds how long it rests after a turn, instead of the profile."""

    abstract = True
    is_developer = True  # the number of these, not of other users beside them, is a level
    _own_pause: ClassVar[Callable[[CodingDeveloper], float] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "wait_time" in cls.__dict__:
            # Ours waits for more than the pause: it stays, and asks the subclass for the pause.
            cls._own_pause = cls.__dict__["wait_time"]
            del cls.wait_time

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        # Locust makes its users even where the test could not be started; these leave at once.
        self._has_run = wiring.is_on()
        if not self._has_run:
            return
        self._run = wiring.current_run()
        number = self._run.next_developer()
        self._developer = Developer(self._run, environment)
        self._sessions: Iterator[Session] = sessions(
            self._run.profile, self._run.options.seed, self._run.worker or 0, number
        )
        self._work: Work | None = None
        self._due = Due(0.0)
        self._place: Place = "unstarted"
        self._in_session = False

    def on_start(self) -> None:
        if not self._has_run:
            raise gevent.GreenletExit

    def wait_time(self) -> float:
        """Until the next turn is due. All waiting happens here, so that a stop comes between
        turns at once and a turn under way is left to end."""
        if self._work is None:
            self._work = self._open_session()
        due = self._run.pacing.wait(self._work.ready_at_s, self._place)
        if self._place == "unstarted" and not due.grows:
            self._work = self._open_session()  # after the first, every session is a new one
        self._due, self._place = due, "ready"
        self._be_in_session(True)
        return 0.0

    def _open_session(self) -> Work:
        return next(filter(None, map(self._developer.open, self._sessions)))

    @task
    def turn(self) -> None:
        # Before the first pause, or in the moment between Locust's decision to stop a waiting user
        # and the stop itself, which would cut the turn off.
        if self._work is None or self._run.stopping:
            return
        record = self._developer.send(self._work, self._due)
        if not self._developer.plan(self._work, record):
            self._work, self._place = None, "idle"
            self._be_in_session(False)
            return
        if self._own_pause is not None:
            self._work.ready_at_s = record.ended_at_s + self._own_pause()
        if self._work.turn.subagents:
            # Here, not in wait_time: their turns under way are left to end as well.
            self._developer.finish_subagents(self._work)

    def on_stop(self) -> None:
        if not self._has_run:
            return
        self._be_in_session(False)
        self._developer.client.close()

    def _be_in_session(self, now: bool) -> None:
        self._run.open_sessions += now - self._in_session
        self._in_session = now


def _record(
    run: Run, work: Work, level: int | None, due: Due, size: int, seen: Observation
) -> TurnRecord:
    """What was planned and what was seen, on the run's clock."""

    def at_s(monotonic_s: float | None) -> float | None:
        return None if monotonic_s is None else run.clock.run_s(monotonic_s)

    speed = run.clock.speed
    return TurnRecord(
        session=work.session.name,
        turn=work.turn.index,
        kind=work.turn.kind,
        level=level,
        text_tokens=work.conversation.prompt_tokens,
        planned_prompt_tokens=work.conversation.planned_prompt_tokens,
        planned_output_tokens=work.turn.output_tokens,
        ideal_cached_tokens=work.conversation.planned_cached_tokens,
        body_bytes=size,
        scheduled_at_s=due.at_s,
        sent_at_s=at_s(seen.sent_at),
        body_sent_at_s=at_s(seen.body_sent_at),
        head_at_s=at_s(seen.head_at),
        first_token_at_s=at_s(seen.first_token_at),
        first_visible_at_s=at_s(seen.first_visible_at),
        last_token_at_s=at_s(seen.last_token_at),
        ended_at_s=run.clock.run_s(seen.ended_at),
        prompt_tokens=seen.prompt_tokens,
        cached_tokens=seen.cached_tokens,
        output_tokens=seen.output_tokens,
        reasoning_tokens=seen.reasoning_tokens,
        output_chunks=seen.output_chunks,
        first_chunk_tokens=seen.first_chunk_tokens,
        chunk_gaps_s=tuple(gap_s * speed for gap_s in seen.chunk_gaps_s),
        stamps=seen.stamps,
        stamp_lag_s=seen.stamp_lag_s * speed,
        coalesced_reads=seen.coalesced_reads,
        coalesced_chunks=seen.coalesced_chunks,
        first_stamp_chunks=seen.first_stamp_chunks,
        first_stamp_tokens=seen.first_stamp_tokens,
        outcome=seen.outcome,
        status=seen.status,
        detail=seen.detail,
        finish_reason=seen.finish_reason,
        retry_after_s=seen.retry_after_s,
        free_at_s=due.free_at_s,
    )
