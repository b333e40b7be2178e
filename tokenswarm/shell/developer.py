"""A coding developer as a Locust user: one task is one turn, the wait between is its pause."""

from __future__ import annotations

from locust import User, task
from locust.env import Environment

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import gevent
from gevent.pool import Group

from tokenswarm.client.agent import Lineage
from tokenswarm.client.headers import Identity
from tokenswarm.client.observation import Observation
from tokenswarm.measure.record import TurnRecord
from tokenswarm.shell import wiring
from tokenswarm.shell.keeper import Turn as Waiting
from tokenswarm.shell.run import Run
from tokenswarm.shell.run_clock import Stamps
from workload.life import Due, Life
from workload.prompts import Conversation, SharedPrefix
from workload.session import Turn
from workload.source import SourceSession, sessions


class TurnFailed(Exception):
    """What Locust's own statistics show of a failed turn: its kind, and nothing unbounded."""


class AgentsThrough(Waiting):
    """What a parent waits for. error: of a sub-agent that failed: a bug."""

    error: Exception | None = None


class Text:
    """What is sent of a session: its conversation, and the bytes before it."""

    def __init__(
        self, run: Run, session: SourceSession, drift: float, parent: Lineage | None
    ) -> None:
        """parent: of a sub-agent."""
        self.session = session
        asker = run.session_id(session)
        self.lineage = Lineage(asker) if parent is None else parent.child(asker)
        self.conversation: Conversation = run.conversation(session, drift)
        self.identity = Identity(run.options.identify(self.lineage))
        self._run = run
        self._opened: tuple[SharedPrefix, bytes] | None = None

    @property
    def opening(self) -> bytes:
        """Tools and system text as they are in the current turn."""
        shared = self.conversation.shared
        if self._opened is None or self._opened[0] is not shared:
            self._opened = shared, self._run.opening(self.conversation, self.lineage)
        return self._opened[1]


class Developer:
    """Sends the turns of one life, of a developer or a sub-agent, over one connection."""

    def __init__(
        self,
        run: Run,
        environment: Environment,
        life: Life,
        own_pause: Callable[[], float] | None = None,
        parent: Lineage | None = None,
    ) -> None:
        """own_pause: run seconds of rest after a turn, instead of the profile's; parent: of a
        sub-agent."""
        self.run = run
        self._own_pause = own_pause
        self.life = life
        self.client = run.client()
        self._environment = environment
        self._parent = parent
        self._drift = 1.0
        self._text: Text | None = None

    def open(self) -> bool:
        """The next session, with its text. False when there is none."""
        if not self.life.open():
            return False
        self._write()
        self.life.pause(self.run.clock.now_s())  # writing took its time
        return True

    def take(self, due: Due) -> None:
        """The next turn has come, perhaps of another session than the one that waited."""
        self.life.take(due)
        if self._text is None or self._text.session is not self.life.session:
            self._write()

    def turn(self, due: Due) -> None:
        """Sends the turn that was taken, and the sub-agents that the next one waits for."""
        record = self._send(self.life.turn, due)
        asked_s = min(record.retry_after_s or 0.0, self.run.options.max_retry_after_s)
        asked_s *= self.run.clock.speed
        if asked_s > 0:
            self.run.stay_away(record.ended_at_s + asked_s)
        pause_s = None if self._own_pause is None else self._own_pause()
        state = self.life.end(
            record.outcome,
            record.ended_at_s,
            retry_after_s=asked_s,
            pause_s=pause_s,
        )
        if state == "agents":
            self._run_subagents()

    def _write(self) -> None:
        self._text = Text(self.run, self.life.session, self._drift, self._parent)

    def _send(self, turn: Turn, due: Due) -> TurnRecord:
        """One Locust request event per finished turn; a turn that the end of the run cuts off goes
        to the feed alone, as unfinished."""
        run, text = self.run, self._text
        assert text is not None  # written when its session was opened
        conversation = text.conversation
        conversation.advance(turn)
        run.pacing.took(conversation.planned_prompt_tokens)
        least = turn.output_tokens if run.options.min_tokens else None
        closing = run.dialect.closing(
            turn.output_tokens, min_tokens=least, field=run.options.output_field
        )
        opening = text.opening
        size = len(opening) + conversation.body_bytes + len(closing)
        level = run.level
        run.under_way.append(due.at_s)
        run.sent_prompt_tokens += conversation.planned_prompt_tokens
        sending = run.clock.sending(turn.cancel_after_chunks)
        seen: Observation | None = None
        try:
            seen = self.client.send(
                (opening, *conversation.segments, closing),
                size,
                cancel_after_chunks=turn.cancel_after_chunks,
                max_tokens=turn.output_tokens,
                headers=sending.headers,
                identity=text.identity,
                on_sent=sending.on_wire,
            )
            sending.over()
        except gevent.GreenletExit:
            sending.give_up()
            # One that was answered beyond the second at which time stopped is cut off as well.
            partial = self.client.partial if seen is None else replace(seen, outcome="unfinished")
            if partial is not None:
                stamps = sending.stamps(partial)
                run.feed.turn(_record(run, text, turn, level, due, size, partial, stamps))
            raise
        finally:
            run.under_way.remove(due.at_s)
        record = _record(run, text, turn, level, due, size, seen, sending.stamps(seen))
        if record.prompt_tokens and record.outcome in ("ok", "cancelled"):
            conversation.calibrate(record.prompt_tokens)
            self._drift = conversation.drift
        self._fire(record)
        return record

    def _run_subagents(self) -> None:
        """Side by side, until the last is through."""
        clock, agents, through = self.run.clock, Group(), AgentsThrough()
        try:
            for life in self.life.call_agents():
                agents.spawn(self._run_subagent, life, clock.queue(), through)
            clock.wait(through)
            if through.error is not None:
                raise through.error
        except Exception:
            self.life.give_up_agents()
            raise
        finally:
            agents.kill()

    def _run_subagent(self, life: Life, first: Waiting, through: AgentsThrough) -> None:
        """first: its own turn to begin; through: its parent's, which the last one hands over, or
        one that fails."""
        clock = self.run.clock
        assert self._text is not None  # its turn called the agent
        agent = Developer(self.run, self._environment, life, parent=self._text.lineage)
        try:
            clock.wait(first)
            agent.open()
            while life.state == "ready" and not self.run.stopping:
                due = self.run.pacing.wait(life)
                agent.take(due)
                if not life.may_send(resting=self.run.stopping):
                    break
                agent.turn(due)
            if self.life.agent_over(clock.now_s()):
                clock.hand(through)
        except Exception as error:
            through.error = error
            clock.hand(through)
        finally:
            agent.client.close()
            clock.leave()

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
    which then says in the run's seconds how long it rests after a turn, instead of the profile.
    target, agent, profile: as the options of these names, where the command line gives none."""

    abstract = True
    agent: ClassVar[str] = ""
    target: ClassVar[str] = ""
    profile: ClassVar[str] = ""
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
        run = wiring.conductor(environment).joined_run()
        self._has_run = run is not None
        if run is None:
            return
        self._run = run
        number = self._run.next_developer()
        seed, worker = self._run.options.seed, self._run.worker or 0
        self._life = Life(sessions(self._run.source, seed, worker, number))
        self._developer = Developer(self._run, environment, self._life, self._own_pause)
        self._due = Due(0.0)
        self._in_session = False

    def on_start(self) -> None:
        if not self._has_run:
            raise gevent.GreenletExit

    def wait_time(self) -> float:
        """Until the next turn is due. All waiting happens here, so that a stop comes between
        turns at once and a turn under way is left to end."""
        if not self._life.has_session:
            self._developer.open()
        self._due = self._run.pacing.wait(self._life)
        self._developer.take(self._due)
        self._be_in_session(True)
        return 0.0

    @task
    def turn(self) -> None:
        # Not before the first pause, nor in the moment between Locust's decision to stop a waiting
        # user and the stop itself, which would cut the turn off. Sub-agents run here, not in
        # wait_time: their turns under way are left to end as well.
        if not self._life.may_send(resting=self._run.stopping):
            return
        self._developer.turn(self._due)
        if not self._life.has_session:
            self._be_in_session(False)

    def on_stop(self) -> None:
        if not self._has_run:
            return
        self._be_in_session(False)
        self._run.pacing.leave(self._life)
        self._developer.client.close()

    def _be_in_session(self, now: bool) -> None:
        self._run.open_sessions += now - self._in_session
        self._in_session = now


def _record(
    run: Run,
    text: Text,
    turn: Turn,
    level: int | None,
    due: Due,
    size: int,
    seen: Observation,
    stamps: Stamps,
) -> TurnRecord:
    """What was planned and what was seen, on the run's clock."""
    # Gaps between chunks are the engine's own where it stamped them.
    speed = run.clock.speed
    return TurnRecord(
        session=text.session.name,
        turn=turn.index,
        kind=turn.kind,
        level=level,
        text_tokens=text.conversation.prompt_tokens,
        planned_prompt_tokens=text.conversation.planned_prompt_tokens,
        planned_output_tokens=turn.output_tokens,
        ideal_cached_tokens=text.conversation.planned_cached_tokens,
        body_bytes=size,
        scheduled_at_s=due.at_s,
        **stamps._asdict(),
        prompt_tokens=seen.prompt_tokens,
        cached_tokens=seen.cached_tokens,
        cache_written_tokens=seen.cache_written_tokens,
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
        early_s=due.early_s,
        replica=seen.replica,
    )
