"""The whole stack as a user starts it: engine and Locust in processes of their own.

Every process has its own process group and writes to files; `Stack.close` kills the groups, so a
failed test leaves nothing behind.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import orjson
from prometheus_client.parser import text_string_to_metric_families

from tokenswarm.measure.record import TurnRecord

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
LADDER = "tpm_ladder.py"
AGENTS = "coding_agents.py"
INVALID_RUN = 4  # exit code
# Guesses, for a machine with far more to do than this: an engine is ready within 2 s on two idle
# cores, and the longest run takes 35 s.
START_TIMEOUT_S = 180.0
RUN_TIMEOUT_S = 300.0
# Before a headless run, of one token.
PREFLIGHT_REQUESTS = 1


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that has ended: exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def printed(self) -> str:
        return self.out + self.err

    @property
    def ran(self) -> bool:
        """Whether a run got to its end without a failed turn. On a busy machine it may well be
        INVALID, which its exit code must say; that is no matter of most tests."""
        return self.code == (INVALID_RUN if "Verdict: INVALID" in self.out else 0)


@dataclass(frozen=True, slots=True)
class Started:
    """A process under way."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait(self, timeout_s: float = RUN_TIMEOUT_S) -> Finished:
        """Raises subprocess.TimeoutExpired."""
        code = self.process.wait(timeout_s)
        return Finished(code, *(path.read_text(errors="replace") for path in (self.out, self.err)))


class Stack:
    """Starts processes; `folder` holds what they print and their runs, `cache` the corpora."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.runs = folder / "runs"
        self._folder = folder
        self._cache = cache
        self._numbers = count()
        self._started: list[Started] = []

    def close(self) -> None:
        for started in self._started:
            with suppress(ProcessLookupError):
                os.killpg(started.process.pid, signal.SIGKILL)
            started.process.wait()

    def engine(self, *options: str, key: str | None = None) -> str:
        """The URL of a new engine."""
        env = {} if key is None else {"TOKENSWARM_ENGINE_API_KEY": key}
        engine = self.start("tokenswarm", "engine", "--port", "0", *options, env=env)
        ready = until(lambda: engine.out.read_text().rpartition("\n")[0], START_TIMEOUT_S)
        assert ready, engine.err.read_text()
        return next(word for word in ready.split() if word.startswith("http://"))

    def locust(self, file: str, *options: str, key: str | None = None) -> Finished:
        """A whole headless run."""
        return self.start_locust(file, "--headless", *options, key=key).wait()

    def start_locust(self, file: str, *options: str, key: str | None = None) -> Started:
        env = {} if key is None else {"TOKENSWARM_API_KEY": key}
        own = ("--runs", str(self.runs), "--only-summary")
        return self.start("locust", "-f", str(ROOT / "locustfiles" / file), *own, *options, env=env)

    def start(self, module: str, *options: str, env: dict[str, str], cwd: Path = ROOT) -> Started:
        """`python -m module` with a clean environment."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_OWN_VARIABLES)}
        path = self._folder / f"{next(self._numbers)}-{module}"
        out, err = path.with_suffix(".out"), path.with_suffix(".err")
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                (sys.executable, "-m", module, *options),
                cwd=cwd,
                env=kept | {"TOKENSWARM_CACHE": str(self._cache)} | env,
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
            )
        self._started.append(Started(process, out, err))
        return self._started[-1]


_OWN_VARIABLES = ("TOKENSWARM_", "LOCUST_", "OPENAI_")


def until(what: Callable[[], T], timeout_s: float) -> T:
    """The first true value of `what`, or its last one after `timeout_s`."""
    give_up_at = time.monotonic() + timeout_s
    while not (value := what()) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether anybody does, on loopback."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def metrics(url: str) -> dict[str, float]:
    """What a server says at /metrics: sums over the labels, by sample name."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        text = response.read().decode()
    sums: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] += sample.value
    return dict(sums)


def turns_in(ledger: Path) -> int:
    """That the file of a run under way has so far; 0 before there is one."""
    return ledger.read_bytes().count(b'"turn":{') if ledger.exists() else 0


def by_session(records: Iterable[TurnRecord]) -> dict[str, list[TurnRecord]]:
    """A session's turns in the order in which they were due."""
    sessions: dict[str, list[TurnRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda r: r.scheduled_at_s):
        sessions[record.session].append(record)
    return dict(sessions)


def locust_requests(stats: Path) -> int:
    """Requests that Locust's own statistics counted, of its --json-file."""
    return sum(entry["num_requests"] for entry in orjson.loads(stats.read_bytes()))
