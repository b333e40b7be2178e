"""A short ladder in each dialect against the embedded engine: the same facts in all of them."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.support.stack import LADDER, PREFLIGHT_REQUESTS, Stack, by_session, metrics
from tokenswarm.measure.ledger import read_run
from tokenswarm.measure.record import TurnRecord

Seen = tuple[list[TurnRecord], dict[str, float]]


@pytest.fixture(scope="module", params=["chat", "messages", "responses"])
def seen(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Seen]:
    """The records of a run, and what the engine counted."""
    url = stack.engine("--speed", "60")  # no figure of time is looked at
    options = ("--api", request.param, "--levels", "1M", "--hold", "300s")
    finished = stack.locust(LADDER, "--host", url, "--run-name", request.param, *options)
    assert finished.ran, finished.printed
    ledger = read_run(stack.runs / request.param)
    assert ledger.header.fingerprint.api == request.param
    yield ledger.records, metrics(url)


def test_every_turn_is_answered_with_the_length_asked_for(seen: Seen) -> None:
    records, engine = seen
    assert len(records) > 20  # 56 mean prompts in 300 s of 1M TPM, less the ramp
    assert {record.outcome for record in records} == {"ok"}
    assert engine["sim:requests_finished_total"] == len(records) + PREFLIGHT_REQUESTS
    for record in records:
        assert record.output_tokens == record.planned_output_tokens
        assert record.first_token_at_s is not None


def test_usage_is_what_was_planned(seen: Seen) -> None:
    """Counted by the engine from the messages that it read out of the dialect's own form."""
    for record in seen[0]:
        assert record.prompt_tokens == pytest.approx(record.planned_prompt_tokens, rel=0.001)


def test_sessions_grow_and_cached_tokens_rise_with_them(seen: Seen) -> None:
    followed = 0
    for turns in by_session(seen[0]).values():
        for last, following in pairwise(turns):
            if following.kind == "compaction":
                continue
            followed += 1
            assert following.prompt_tokens > last.prompt_tokens
            # All of the last prompt but its last block, also where cache marks have moved.
            assert following.cached_tokens > last.prompt_tokens - 128
            # Full blocks are kept, so that only the last, begun one is neither read nor written.
            rest = (
                following.prompt_tokens - following.cached_tokens - following.cache_written_tokens
            )
            assert 0 <= rest < 128
    assert followed > 10
