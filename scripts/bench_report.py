"""Bench of the report: time and memory for a million turns, and what its intervals are worth.

    python scripts/bench_report.py [--turns 1000000]

Coverage, false alarms and misses are counted on made-up runs whose truth is known.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from tabulate import tabulate

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the made-up runs are those of the tests

from tests.support.known_truth import known_run, queue_ttft_s  # noqa: E402
from tests.support.records import header, turn_record  # noqa: E402
from tests.support.runs import ladder_run  # noqa: E402
from tokenswarm.engine.offline import run as offline  # noqa: E402
from tokenswarm.engine.offline.traffic import SimulatedTurn  # noqa: E402
from tokenswarm.engine.physics.presets import PRESETS  # noqa: E402
from tokenswarm.measure.ledger import TURN_FIELDS, Header, Ledger, LedgerWriter  # noqa: E402
from tokenswarm.measure.record import Level, TurnRecord  # noqa: E402
from tokenswarm.report.analysis.compare import StoredRun  # noqa: E402
from tokenswarm.report.analysis.regression import UNSETTLED_BASELINE, Limit, regressions  # noqa: E402
from tokenswarm.report.analysis.resample import Clusters, interval, quantiles  # noqa: E402
from workload.profiles import load_profile  # noqa: E402

TURNS = 1_000_000
SESSION_TURNS = 7
MEAN_CHUNKS = 450  # WORKLOAD: mean output tokens, one a chunk
RUNS = 200  # of each coverage
ENGINE = "trtllm-like"
ENGINES = 16  # runs of it
PAIRS = 100  # of each rate of the gate
Row = tuple[str, float, str]


def main(turns: int = TURNS) -> list[Row]:
    return [*_speed(turns), *_coverage(), *_gate(), *_gate_on_an_engine()]


def _speed(turns: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        _write(path, turns)
        yield "ledger", path.stat().st_size / 1e9, "GB"
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "tokenswarm", "report", str(path), "--slo", "ttft_p50<1s"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        name = f"tokenswarm report, {turns:,} turns with chunk times"
        yield name, time.perf_counter() - began, "s"
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        yield f"{name}: CPU", used.ru_utime + used.ru_stime, "s"
        yield f"{name}: peak memory", used.ru_maxrss / 1e6, "GB"


def _write(path: Path, turns: int) -> None:
    """A ladder repeated over and over, every turn of a session of its own seven."""
    ladder = ladder_run()
    with LedgerWriter(path, ladder.header) as writer:
        for level in ladder.levels:
            writer.write_level(level)
    rng = np.random.default_rng(1)
    gaps = [
        ",".join(f"{gap_s:.4f}" for gap_s in rng.gamma(2, 0.0025, size)).encode()
        for size in rng.poisson(MEAN_CHUNKS, 500)
    ]
    lines = [_line(path, ladder.header, record) for record in ladder.records]
    with path.open("ab", buffering=1 << 22) as out:
        for number in range(turns):
            head, tail = lines[number % len(lines)]
            session = b"w0.u%d.s0" % (number // SESSION_TURNS)
            turn = b"%d" % (number % SESSION_TURNS)
            between = b'{"turn":{"session":"%s","turn":%s,' % (session, turn)
            out.write(between + head + gaps[number % len(gaps)] + tail)


def _line(path: Path, first: Header, record: TurnRecord) -> tuple[bytes, bytes]:
    """What stands in a turn's line after its session, before and after its chunk gaps."""
    scratch = path.with_suffix(".scratch")
    with LedgerWriter(scratch, first) as writer:
        plain: dict[str, Any] = {name: _plain(getattr(record, name)) for name in TURN_FIELDS}
        writer.write(TurnRecord(**plain))
    line = scratch.read_bytes().splitlines(keepends=True)[1]
    scratch.unlink()
    turn = orjson.loads(line)["turn"]
    del turn["session"], turn["turn"]
    head, tail = orjson.dumps({"turn": turn}).split(b'"chunk_gaps_s":[]')
    return head.removeprefix(b'{"turn":{') + b'"chunk_gaps_s":[', b"]" + tail + b"\n"


def _plain(value: object) -> object:
    """A made-up run has floats of numpy, which are no JSON."""
    return value.item() if isinstance(value, np.generic) else value


def _coverage() -> Iterator[Row]:
    for sessions in (20, 60, 200):
        for share in (0.5, 0.9):
            for alike in (0.0, 0.3, 0.5):
                covered = sum(_covers(sessions, share, alike, seed) for seed in range(RUNS))
                yield (
                    f"coverage of a 95% interval: p{share * 100:.0f}, {sessions} sessions, "
                    f"{alike:.0%} of the variance the session's",
                    100 * covered / RUNS,
                    "%",
                )


def _covers(sessions: int, share: float, alike: float, seed: int) -> bool:
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(sessions), rng.geometric(1 / 6.5, sessions))
    own, shared = rng.normal(size=len(codes)), rng.normal(size=sessions)[codes]
    values = np.exp(math.sqrt(alike) * shared + math.sqrt(1 - alike) * own)
    clusters = Clusters.drawn(codes, sessions, rng)
    (value,), found = quantiles(values, np.zeros(len(codes), bool), codes, clusters, (share,))
    covered = interval(value, [found[:, 0]], [sessions])
    truth = {0.5: 1.0, 0.9: math.exp(1.2815516)}[share]
    assert covered.low is not None and covered.high is not None
    return covered.low <= truth <= covered.high


def _gate() -> Iterator[Row]:
    limit = Limit.parse("ttft_p50=10%")
    for turns in (250, 1000):
        for slower in (1.0, 1.1, 1.2, 1.3, 1.6):
            failed = sum(_fails(limit, turns, slower, pair) for pair in range(PAIRS))
            yield (
                f"gate fails, ttft_p50=10%, {turns} turns, {slower - 1:.0%} slower",
                100 * failed / PAIRS,
                "%",
            )


def _fails(limit: Limit, turns: int, slower: float, pair: int) -> bool:
    """Two runs of other sessions, a third of whose variance is the session's."""
    base = known_run([1e6], turns=turns, seed=2 * pair)
    now = known_run([1e6], lambda tpm: slower * queue_ttft_s(tpm), turns=turns, seed=2 * pair + 1)
    (found,) = regressions(StoredRun(Path("now"), now), StoredRun(Path("main"), base), [limit])
    return bool(found.fails)


def _gate_on_an_engine() -> Iterator[Row]:
    """False alarms on a simulated engine, whose turns share a queue: every pair is of one engine
    under one load, with other sessions."""
    limits = [Limit.parse("ttft_p50=10%"), Limit.parse("tps_p50=10%")]
    for tpm in (1.5e6, 2.2e6):
        for hold_s in (480.0, 1500.0):
            runs = [
                StoredRun(Path(str(seed)), _simulated(tpm, hold_s, seed)) for seed in range(ENGINES)
            ]
            pairs = [
                (runs[at], runs[(at + apart) % ENGINES])
                for apart in (1, 3, 5)
                for at in range(ENGINES)
            ]
            judged = [regressions(now, base, limits) for base, now in pairs]
            for at, limit in enumerate(limits):
                failed = sum(bool(found[at].fails) for found in judged)
                name = (
                    f"{limit.text}, unchanged {ENGINE} (simulated), {tpm / 1e6:g}M TPM for "
                    f"{hold_s / 60:g} min, of {len(pairs)} pairs"
                )
                yield f"gate fails, {name}", failed, ""
                spared = sum(found[at].reason == UNSETTLED_BASELINE for found in judged)
                yield f"gate would fail, had the baseline settled, {name}", spared, ""


def _simulated(tpm: float, hold_s: float, seed: int) -> Ledger:
    load = offline.Load(levels_tpm=(tpm,), hold_s=hold_s)
    run = offline.run(PRESETS[ENGINE], load_profile("seed"), load, seed=seed)
    level = Level(index=0, target_tpm=tpm, developers=None, started_at_s=0.0, ended_at_s=hold_s)
    return Ledger(header(), [_seen(turn) for turn in run.turns if turn.outcome == "ok"], [level])


def _seen(turn: SimulatedTurn) -> TurnRecord:
    stamps = ("scheduled_at_s", "sent_at_s", "first_token_at_s", "ended_at_s")
    counts = ("prompt_tokens", "cached_tokens", "output_tokens", "output_chunks")
    names = ("session", "turn", *stamps, *counts)
    values = {name: getattr(turn, name) for name in names}
    return turn_record(
        **values,
        last_token_at_s=turn.ended_at_s,
        planned_prompt_tokens=turn.prompt_tokens,
        first_chunk_tokens=None,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=TURNS)
    print(tabulate(main(parser.parse_args().turns), ("what", "value", "unit"), floatfmt=".3g"))
