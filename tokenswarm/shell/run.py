"""Run: everything that the developers of one process share while a test lasts."""

from __future__ import annotations

import os
import platform
import ssl
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import count
from pathlib import Path

import gevent
import numpy as np

from exporters import ledger
from exporters.turns import Load, TurnFeed
from tokenswarm.client.agent import Lineage
from tokenswarm.client.dialects import DIALECTS, Dialect
from tokenswarm.client.headers import HeaderField, session_id
from tokenswarm.client.stream import ChatClient
from tokenswarm.client.tls import tls_context
from tokenswarm.measure.ending import Ending
from tokenswarm.measure.fingerprint import Fingerprint
from tokenswarm.measure.ledger import Header, LedgerWriter
from tokenswarm.measure.record import TurnRecord
from tokenswarm.shell.command_line import command_line
from tokenswarm.shell.lead import lead
from tokenswarm.shell.options import Options, api_key
from tokenswarm.shell.pacing import OwnPauses, Tickets
from tokenswarm.shell.run_clock import RunClock, WallClock
from tokenswarm.shell.terms import Terms
from workload import corpus as corpora
from workload.arrivals import Arrivals, TargetLine
from workload.corpus import Corpus
from workload.figures import Workload
from workload.prompts import Conversation, SharedPrefix, shared_prefix
from workload.retold import Retold
from workload.session import Session
from workload.source import Source, SourceSession, developer_tpm, mean_prompt_tokens, workload
from workload.tokens import Tokenizer, load_tokenizer


@dataclass(slots=True)
class Run:
    """One test in one process. The level and what is under way change while it lasts."""

    terms: Terms
    options: Options
    source: Source
    corpus: Corpus
    clock: RunClock
    header: Header
    pacing: OwnPauses | Tickets
    feed: TurnFeed
    writer: LedgerWriter
    folder: Path
    worker: int | None
    tls: ssl.SSLContext | None
    level: int | None = None
    target_tpm: float | None = None
    under_way: list[float] = field(default_factory=list)  # due times of turns sent, not ended
    open_sessions: int = 0
    sent_prompt_tokens: int = 0  # planned ones
    stopping: bool = False
    stopped: str | None = None  # why the run ends itself before its time
    clock_lost: str | None = None  # in driven time: why it stopped
    _developers: int = 0
    _away_until_s: list[float] = field(default_factory=list)
    _prefixes: dict[int, SharedPrefix] = field(default_factory=dict)

    def next_developer(self) -> int:
        """A number for a new developer, from 0 in each process: with the seed and the worker's
        index it decides what this developer will send."""
        self._developers += 1
        return self._developers - 1

    def client(self) -> ChatClient:
        return new_client(self.options, self.tls, engine_stamps=self.clock.driven)

    def conversation(self, session: SourceSession, drift: float) -> Conversation:
        if not isinstance(session, Session):
            return Retold(
                self.corpus,
                self.dialect.frames,
                seed=self.options.seed,
                salt=self.terms.salt,
                growth_tokens=session.growth_tokens,
                drift=drift,
                reasoning=self.terms.reasoning,
            )
        profile = session.profile
        return Conversation(
            self.corpus,
            self._prefix(profile.shared_prefix_tokens),
            self.dialect.frames,
            session.name,
            seed=self.options.seed,
            salt=self.terms.salt,
            growth_tokens=session.growth_tokens,
            drift=drift,
            reasoning=self.terms.reasoning,
        )

    @property
    def dialect(self) -> Dialect:
        return DIALECTS[self.options.api]

    def session_id(self, session: SourceSession) -> str:
        """Which the endpoint is told, in the dialect's own field and by --session-header."""
        return session_id(self.terms.salt, session.name)

    def opening(self, conversation: Conversation, lineage: Lineage) -> bytes:
        """The start of a body: model, options, tools, system text."""
        shared = conversation.shared
        return self.dialect.opening(
            self.terms.target.model,
            shared.tools,
            shared.system,
            self.options.extra_body,
            session=lineage.session,
            agent=self.options.agent,
        )

    @property
    def in_flight(self) -> int:
        return len(self.under_way)

    def load(self) -> Load:
        oldest_waiting_s = self.pacing.oldest_waiting_s
        waiting_s = () if oldest_waiting_s is None else (oldest_waiting_s,)
        return Load(
            in_flight=self.in_flight,
            open_sessions=self.open_sessions,
            told_to_wait=self._told_to_wait(),
            waiting_tickets=self.pacing.waiting_tickets,
            sent_prompt_tokens=self.sent_prompt_tokens,
            settled_s=min((self.clock.now_s(), *self.under_way, *waiting_s)),
        )

    def stay_away(self, until_s: float) -> None:
        """A developer does, because a server said so."""
        self._away_until_s.append(until_s)

    def _told_to_wait(self) -> int:
        now_s = self.clock.now_s()
        self._away_until_s = [until_s for until_s in self._away_until_s if until_s > now_s]
        return len(self._away_until_s)

    def set_target(self, tpm: float | None, level: int | None, ramp_s: float) -> None:
        self.level, self.target_tpm = level, tpm if level is not None else None
        self.pacing.set_tpm(tpm, ramp_s)

    def hold(self, overdue_s: float) -> None:
        """No more turns until `go_on`, as if since so many wall seconds ago."""
        self.pacing.hold(self.clock.now_s() - overdue_s * self.clock.speed)

    def go_on(self) -> None:
        """In open mode with the next target."""
        self.pacing.go_on()

    def close(self, ending: Ending | None) -> None:
        """ending: the ledger's last line, of a master or a process alone."""
        self.pacing.close()
        self.clock.close()
        self.feed.unsubscribe(self.writer.write, self.writer.write_level, self.writer.write_health)
        if ending is not None:
            self.writer.write_ending(ending)
        self.writer.close()

    def save_rest(self) -> str | None:
        """Where the lines of the ledger are that its disk did not take; None where it took all.
        After `close`. Raises OSError where they fit nowhere."""
        rest = self.writer.unsaved
        if not rest:
            return None
        stem = f"tokenswarm-{self.terms.name}-{self.writer.path.stem}-"
        number, path = tempfile.mkstemp(prefix=stem, suffix=".rest")
        with open(number, "wb") as file:
            file.write(rest)
        return path

    def _prefix(self, tokens: int) -> SharedPrefix:
        # Two sizes at most: the session's, and its sub-agents'.
        if tokens not in self._prefixes:
            self._prefixes[tokens] = shared_prefix(self.corpus, tokens)
        return self._prefixes[tokens]


def new_client(
    options: Options, tls: ssl.SSLContext | None, *, engine_stamps: bool = False
) -> ChatClient:
    return ChatClient(
        options.endpoint,
        api_key=api_key(),
        timeouts=options.timeouts,
        tls=tls,
        dialect=DIALECTS[options.api],
        headers=(*(HeaderField(*line) for line in options.agent.headers), *options.headers),
        secrets=options.secrets,
        engine_stamps=engine_stamps,
    )


def new_tls(options: Options) -> ssl.SSLContext | None:
    """One for the process: making one blocks the hub for 25-54 ms (docs/measuring.md 1.1)."""
    return tls_context(options.verify_tls, options.ca_file) if options.endpoint.secure else None


def load_corpus(options: Options) -> Corpus:
    """From disk, or built in a thread: the hub, with a worker's heartbeats, goes on meanwhile."""

    def tokenizer() -> Tokenizer:
        return load_tokenizer(options.tokenizer, trust_remote_code=options.trust_remote_code)

    def load() -> Corpus | ValueError:
        try:
            return corpora.load(options.tokenizer, tokenizer, options.corpus)
        except ValueError as error:
            return error  # gevent's threads print a traceback of what they raise

    loaded: Corpus | ValueError = gevent.get_hub().threadpool.apply(load)
    if isinstance(loaded, ValueError):
        raise loaded
    return loaded


def promised(source: Source) -> Workload:
    """What the traffic will be judged by: two seconds of simulation, in a thread as the corpus."""
    found: Workload = gevent.get_hub().threadpool.apply(workload, (source,))
    return found


def known_rates(source: Source, *, open_mode: bool) -> None:
    """Simulation that a start and its users ask for (kept; most of it in open mode alone), in a
    thread as the corpus: on a busy machine a worker was silent for so long that its master gave it
    up."""

    def simulate() -> None:
        mean_prompt_tokens(source)
        if open_mode:
            developer_tpm(source)

    gevent.get_hub().threadpool.apply(simulate)


def start(
    terms: Terms,
    options: Options,
    source: Source,
    corpus: Corpus,
    feed: TurnFeed,
    *,
    worker: int | None,
    on_broken: Callable[[str], None],
    on_full: Callable[[OSError], None],
    origin: float | None = None,
) -> Run:
    """Second 0. Creates the run's folder and ledger, and the pacing.

    worker: the index of a Locust worker, None for a master or a process alone; on_broken: told why
    engine and generator have no clock in common any more; on_full: told once, when the ledger's
    disk takes no more; origin: second 0 in monotonic seconds, as a worker knows it from its master,
    None: by this machine's wall clock. Raises keeper.Broken where they never had one in common.
    """
    clock = _clock(terms, options, on_broken, origin)
    folder = options.runs_folder / terms.name
    folder.mkdir(parents=True, exist_ok=worker is not None)
    header = Header(
        run=terms.name,
        fingerprint=fingerprint(
            options, source, corpus, open_mode=terms.open_mode, reasoning=terms.reasoning
        ),
        started_at=terms.started_at,
        speed=terms.speed,
        target=terms.target,
        worker=worker,
        machine=_machine(),
        arrival_cv=options.arrival_cv if terms.open_mode else 0.0,
        driven=terms.driven,
        max_retry_after_s=options.max_retry_after_s,
        quick=options.quick,
        command=command_line(sys.argv),
    )
    return Run(
        terms=terms,
        options=options,
        source=source,
        corpus=corpus,
        clock=clock,
        header=header,
        pacing=_tickets(options, source, clock, feed, worker or 0)
        if terms.open_mode
        else OwnPauses(clock),
        feed=feed,
        writer=ledger.install(feed, folder, header, on_full),
        folder=folder,
        worker=worker,
        tls=new_tls(options),
    )


def _clock(
    terms: Terms, options: Options, on_broken: Callable[[str], None], origin: float | None
) -> RunClock:
    if terms.driven:
        return lead(new_client(options, new_tls(options)), options.seed, on_broken)
    if origin is not None:
        return WallClock(origin, terms.speed)
    return WallClock.starting_at(terms.started_at, terms.speed)


def _machine() -> dict[str, str]:
    """What the generator runs on: no name of a machine or a person."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "Python": platform.python_version(),
        **{name: version(name) for name in ("locust", "gevent", "httptools")},
    }


def _tickets(
    options: Options, source: Source, clock: RunClock, feed: TurnFeed, index: int
) -> Tickets:
    line = TargetLine()
    rng = np.random.default_rng((options.seed, index))
    mean_tokens = mean_prompt_tokens(source)
    arrivals = Arrivals(line, mean_tokens, cv=options.arrival_cv, rng=rng)
    numbers = count()

    def unsent(due_at_s: float) -> None:
        name = f"w{index}.ticket{next(numbers)}"
        feed.turn(TurnRecord.unsent(name, due_at_s, clock.now_s(), round(mean_tokens)))

    return Tickets(clock, line, arrivals, developer_tpm(source), unsent)


def fingerprint(
    options: Options, source: Source, corpus: Corpus, *, open_mode: bool, reasoning: bool
) -> Fingerprint:
    """What must be equal before this run may be held against another."""
    return Fingerprint(
        profile=source.name,
        profile_hash=source.fingerprint(),
        seed=options.seed,
        corpus_hash=corpus.hash,
        tokenizer=corpus.tokenizer,
        mode="tpm" if open_mode else "developers",
        reasoning=reasoning,
        api=options.api,
        agent=options.agent.name,
        version=version("tokenswarm"),
    )
