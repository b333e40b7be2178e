"""A made-up run for tests of the report: a ladder of levels through saturation."""

from __future__ import annotations

import numpy as np

from tests.support.records import failed_record, header, turn_record, unfinished_record
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level, TurnRecord

CAPACITY_TPM = 3.0e6
SESSION_TURNS = 7


def ladder_run(
    targets_tpm: tuple[float, ...] = (0.5e6, 1e6, 1.5e6, 2e6, 2.5e6, 3e6, 3.5e6),
    level_s: float = 480.0,
    seed: int = 1,
    capacity_tpm: float = CAPACITY_TPM,
) -> Ledger:
    """Turns of about 88k tokens from a queue of one server; the numbers mean nothing."""
    rng = np.random.default_rng(seed)
    levels: list[Level] = []
    records: list[TurnRecord] = []
    free_at_s = 0.0
    for index, target_tpm in enumerate(targets_tpm):
        start_s, end_s = index * level_s, (index + 1) * level_s
        levels.append(
            Level(
                index=index,
                target_tpm=target_tpm,
                developers=None,
                started_at_s=start_s,
                ended_at_s=end_s,
            )
        )
        due_s = start_s
        while due_s < end_s:
            prompt_tokens = int(np.clip(rng.normal(88_000, 30_000), 45_000, 200_000))
            served_s = prompt_tokens * 60 / capacity_tpm * rng.gamma(4, 0.25)
            free_at_s = max(free_at_s, due_s) + served_s
            run_end_s = level_s * len(targets_tpm)
            records.append(
                _turn(rng, len(records), index, due_s, prompt_tokens, free_at_s, run_end_s)
            )
            due_s += prompt_tokens * 60 / target_tpm
    return Ledger(header(), records, levels)


def _turn(
    rng: np.random.Generator,
    turn: int,
    level: int,
    due_s: float,
    prompt_tokens: int,
    first_s: float,
    run_end_s: float,
) -> TurnRecord:
    load = max(0.0, first_s - due_s)
    output_tokens = int(rng.lognormal(5.7, 0.9)) + 2
    last_s = first_s + output_tokens * (0.005 + 0.001 * load)
    planned = dict(
        session=f"w0.u{turn // SESSION_TURNS}.s0",
        turn=turn % SESSION_TURNS,
        level=level,
        text_tokens=prompt_tokens,
        planned_prompt_tokens=prompt_tokens,
        ideal_cached_tokens=int(prompt_tokens * 0.87),
        scheduled_at_s=due_s,
        sent_at_s=due_s + rng.exponential(0.01),
    )
    if rng.random() < 0.004 * load:
        return failed_record("http_429", ended_at_s=due_s + 0.5, **planned)
    if last_s > run_end_s + 10:
        return unfinished_record(ended_at_s=run_end_s + 10, **planned)
    return turn_record(
        first_token_at_s=first_s,
        first_visible_at_s=first_s,
        last_token_at_s=last_s,
        ended_at_s=last_s,
        prompt_tokens=prompt_tokens,
        cached_tokens=int(prompt_tokens * max(0.4, 0.86 - 0.01 * load)),
        output_tokens=output_tokens,
        output_chunks=output_tokens,
        **planned,
    )
