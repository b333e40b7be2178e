"""Runs whose truth is known: the median of each level, and how alike a session's turns are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.support.records import failed_record, header, turn_record
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level, TurnRecord

CAPACITY_TPM = 3.0e6
LEVEL_S = 600.0
DECODE_S = 2.0


def queue_ttft_s(load_tpm: float) -> float:
    """Of an M/M/1 queue that takes 0.5 s alone: power is highest at half of CAPACITY_TPM."""
    return 0.5 / max(1 - load_tpm / CAPACITY_TPM, 1e-3)


def known_run(
    loads_tpm: Sequence[float] | np.ndarray,
    ttft_s: Callable[[float], float] = queue_ttft_s,
    *,
    turns: int = 200,
    session_turns: int = 6,
    alike: float = 0.3,
    sigma: float = 0.5,
    failures: float = 0.0,
    seed: int = 1,
) -> Ledger:
    """Levels of `turns` turns, evenly spaced so that the offered load is exact.

    TTFT is lognormal with median ttft_s(load) and standard deviation sigma of its logarithm, of
    whose variance the turns of one session share the part `alike`. Sessions have session_turns
    turns in a level, at random places in it.
    """
    rng = np.random.default_rng(seed)
    levels, records = [], []
    for index, load_tpm in enumerate(loads_tpm):
        start_s = index * LEVEL_S
        levels.append(
            Level(
                index=index,
                target_tpm=load_tpm,
                developers=None,
                started_at_s=start_s,
                ended_at_s=start_s + LEVEL_S,
            )
        )
        sessions = rng.permutation(np.arange(turns) // session_turns)
        shared = rng.normal(size=turns)[sessions] * np.sqrt(alike)
        waits_s = ttft_s(load_tpm) * np.exp(
            sigma * (shared + rng.normal(size=turns) * np.sqrt(1 - alike))
        )
        fails = rng.random(turns) < failures
        prompt_tokens = round(load_tpm * LEVEL_S / 60 / turns)
        seen: dict[int, int] = {}
        for turn in range(turns):
            session = int(sessions[turn])
            seen[session] = seen.get(session, -1) + 1
            records.append(
                _turn(
                    f"w0.u{session}.s{index}",
                    seen[session],
                    start_s + (turn + 0.5) * LEVEL_S / turns,
                    float(waits_s[turn]),
                    prompt_tokens,
                    bool(fails[turn]),
                )
            )
    return Ledger(header(), records, levels)


def _turn(
    session: str, turn: int, at_s: float, wait_s: float, prompt_tokens: int, fails: bool
) -> TurnRecord:
    planned = dict(
        session=session,
        turn=turn,
        text_tokens=prompt_tokens,
        planned_prompt_tokens=prompt_tokens,
        ideal_cached_tokens=0,
        scheduled_at_s=at_s,
        sent_at_s=at_s,
    )
    if fails:
        return failed_record("http_5xx", ended_at_s=at_s + 0.1, **planned)
    return turn_record(
        first_token_at_s=at_s + wait_s,
        first_visible_at_s=at_s + wait_s,
        last_token_at_s=at_s + wait_s + DECODE_S,
        ended_at_s=at_s + wait_s + DECODE_S,
        prompt_tokens=prompt_tokens,
        cached_tokens=0,
        **planned,
    )
