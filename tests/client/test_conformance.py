"""The truth test: what the client measures against what the server stamped as it sent.

The five cases of the conformance table every peer was run through (docs/measuring.md 3.1): role
chunk first, output from FIRST_OUTPUT_S on, 100 tokens at 20 ms, then a finish chunk and, late, the
usage.
Server and client share CLOCK_MONOTONIC, so a busy machine moves both sides alike.
"""

from dataclasses import dataclass

import gevent
import pytest

from tests.support.scripted_server import (
    LAST_CHUNK,
    STREAM_HEAD,
    ScriptedServer,
    chunk,
    delta,
    event,
    read,
    send,
    until,
    usage,
)
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.observation import Observation
from tokenswarm.client.stream import ChatClient, Timeouts
from tokenswarm.measure.record import TurnRecord

ROLE_S = 0.10
FIRST_OUTPUT_S = 0.30  # 1.00 s in the table
TOKENS = 100
TOKEN_S = 0.020
USAGE_DELAY_S = 0.30

TTFT_TOLERANCE_S = 0.002
TPS_TOLERANCE = 0.01


def call(arguments: str) -> dict[str, object]:
    return delta(tool_calls=[{"index": 0, "function": {"arguments": arguments}}])


def reasoning_then_content(i: int) -> dict[str, object]:
    return delta(reasoning_content="hm") if i < 50 else delta(content="x")


@dataclass(frozen=True)
class Case:
    """chunk_of(i) is the i-th output chunk; it carries tokens_per_chunk tokens."""

    chunk_of: object
    tokens_per_chunk: int = 1
    visible_from: int = 0  # the first chunk a person sees
    says_tokens: bool = False

    def payloads(self) -> list[dict[str, object]]:
        n = self.tokens_per_chunk
        chunks = [self.chunk_of(i) for i in range(TOKENS // n)]
        if self.says_tokens:
            chunks = [c | {"x_sim_tokens": n * (i + 1)} for i, c in enumerate(chunks)]
        return chunks

    def script(self) -> list[list]:
        payloads = self.payloads()
        role = event(delta(role="assistant", content=""))
        steps = [read(), send(STREAM_HEAD), until(ROLE_S), send(chunk(role))]
        for i, payload in enumerate(payloads):
            steps.append(until(FIRST_OUTPUT_S + i * TOKEN_S * self.tokens_per_chunk))
            steps.append(send(chunk(event(payload))))
        end_s = FIRST_OUTPUT_S + (len(payloads) - 1) * TOKEN_S * self.tokens_per_chunk
        steps.append(send(chunk(event(delta("stop")))))
        steps.append(until(end_s + USAGE_DELAY_S))
        last = event(usage(200, TOKENS, cached=0)) + event(b"[DONE]")
        return [*steps, send(chunk(last) + LAST_CHUNK)]


CASES = {
    "plain": Case(lambda i: delta(content="x")),
    "four tokens per chunk": Case(lambda i: delta(content="xxxx"), tokens_per_chunk=4),
    "four tokens per chunk, counted": Case(
        lambda i: delta(content="xxxx"), tokens_per_chunk=4, says_tokens=True
    ),
    "tool calls only": Case(lambda i: call('{"a')),
    "reasoning, then content": Case(reasoning_then_content, visible_from=50),
}


@pytest.fixture(scope="module")
def seen() -> dict[str, tuple[Observation, list[dict]]]:
    """Every case's observation and the stamps of its output chunks, all run at once."""
    with ScriptedServer({name: case.script() for name, case in CASES.items()}) as server:

        def turn(name: str) -> Observation:
            client = ChatClient(
                Endpoint.parse(server.url(name)), api_key=None, timeouts=Timeouts(), tls=None
            )
            observation = client.send([b"{}"], 2)
            client.close()
            return observation

        turns = {name: gevent.spawn(turn, name) for name in CASES}
        gevent.joinall(turns.values(), raise_error=True)
        output = slice(2, -2)  # after head and role chunk, before finish and usage
        return {name: (turns[name].value, server.sends(name)[output]) for name in CASES}


def decode_tps(observation: Observation) -> float:
    """By the formula every report uses: TurnRecord.decode_tps."""
    record = TurnRecord(
        session="s",
        turn=0,
        kind="start",
        level=None,
        text_tokens=200,
        planned_prompt_tokens=200,
        planned_output_tokens=TOKENS,
        ideal_cached_tokens=0,
        body_bytes=2,
        scheduled_at_s=0.0,
        sent_at_s=observation.sent_at,
        body_sent_at_s=observation.body_sent_at,
        head_at_s=observation.head_at,
        first_token_at_s=observation.first_token_at,
        first_visible_at_s=observation.first_visible_at,
        last_token_at_s=observation.last_token_at,
        ended_at_s=observation.ended_at,
        prompt_tokens=observation.prompt_tokens,
        cached_tokens=observation.cached_tokens,
        output_tokens=observation.output_tokens,
        reasoning_tokens=observation.reasoning_tokens,
        output_chunks=observation.output_chunks,
        first_chunk_tokens=observation.first_chunk_tokens,
        stamps=observation.stamps,
        stamp_lag_s=observation.stamp_lag_s,
        coalesced_reads=observation.coalesced_reads,
        outcome=observation.outcome,
        status=observation.status,
    )
    assert record.decode_tps is not None
    return record.decode_tps


def off_s(measured_at: float | None, sent: dict) -> float:
    """How far a stamp lies outside the time the server took for its send call."""
    assert measured_at is not None
    return max(sent["before"] - measured_at, measured_at - sent["after"], 0.0)


@pytest.mark.parametrize("name", CASES)
def test_first_token_and_first_visible_token_are_when_the_server_sent_them(name, seen):
    observation, sends = seen[name]
    assert off_s(observation.first_token_at, sends[0]) < TTFT_TOLERANCE_S
    assert off_s(observation.first_visible_at, sends[CASES[name].visible_from]) < TTFT_TOLERANCE_S
    assert observation.first_token_at - observation.sent_at >= FIRST_OUTPUT_S - TTFT_TOLERANCE_S


@pytest.mark.parametrize("name", CASES)
def test_decode_speed_is_the_servers(name, seen):
    observation, sends = seen[name]
    case = CASES[name]
    # A first chunk that nobody counted is taken for the one token that a prefill yields.
    first = case.tokens_per_chunk if case.says_tokens else 1
    true_tps = (TOKENS - first) / (sends[-1]["before"] - sends[0]["before"])
    assert decode_tps(observation) == pytest.approx(true_tps, rel=TPS_TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_every_output_chunk_is_counted_and_nothing_else(name, seen):
    observation, sends = seen[name]
    case = CASES[name]
    assert observation.outcome == "ok"
    assert observation.output_chunks == len(sends) == TOKENS // case.tokens_per_chunk
    assert observation.first_chunk_tokens == (case.tokens_per_chunk if case.says_tokens else None)
    assert (observation.output_tokens, observation.cached_tokens) == (TOKENS, 0)
    assert observation.ended_at - observation.last_token_at >= USAGE_DELAY_S - TTFT_TOLERANCE_S
