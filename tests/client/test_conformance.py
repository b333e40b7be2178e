"""The truth test: what the client measures against what the server stamped as it sent.

The conformance table (docs/measuring.md 3.1) in every dialect: what holds no output first, output
from FIRST_OUTPUT_S on, 100 tokens at 20 ms, then the end and the usage, at once or late.
Server and client share CLOCK_MONOTONIC, so a busy machine moves both sides alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gevent
import pytest

from tests.support.dialect_streams import STREAMS
from tests.support.scripted_server import (
    LAST_CHUNK,
    STREAM_HEAD,
    ScriptedServer,
    chunk,
    read,
    send,
    until,
)
from tokenswarm.client.dialects import DIALECTS
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.observation import Observation
from tokenswarm.client.stream import ChatClient, Timeouts
from tokenswarm.measure.record import TurnRecord

ROLE_S = 0.10
FIRST_OUTPUT_S = 0.30  # 1.00 s in the table
TOKENS = 100
TOKEN_S = 0.020
USAGE_DELAY_S = 0.30
PROMPT_TOKENS, CACHED_TOKENS = 200, 150

TTFT_TOLERANCE_S = 0.002
TPS_TOLERANCE = 0.01


@dataclass(frozen=True)
class Case:
    """kind_of(i): of the i-th output chunk; it carries tokens_per_chunk tokens. usage_delay_s: how
    long after the last output the usage comes."""

    kind_of: Callable[[int], str]
    tokens_per_chunk: int = 1
    visible_from: int = 0  # the first chunk a person sees
    says_tokens: bool = False
    usage_delay_s: float = 0.0

    def script(self, api: str) -> list[list]:
        """Head, what comes before output, the output, its end, the usage: a send each."""
        stream = STREAMS[api]()
        n = self.tokens_per_chunk
        begin = stream.begin(self.kind_of(0))
        steps = [read(), send(STREAM_HEAD), until(ROLE_S), send(chunk(begin))]
        chunks = TOKENS // n
        for i in range(chunks):
            said = n * (i + 1) if self.says_tokens else None
            steps.append(until(FIRST_OUTPUT_S + i * TOKEN_S * n))
            steps.append(send(chunk(stream.chunk(self.kind_of(i), "x" * n, said))))
        end_s = FIRST_OUTPUT_S + (chunks - 1) * TOKEN_S * n
        steps.append(send(chunk(stream.end())))
        steps.append(until(end_s + self.usage_delay_s))
        usage = stream.usage(PROMPT_TOKENS, CACHED_TOKENS, TOKENS)
        return [*steps, send(chunk(usage) + LAST_CHUNK)]


CASES = {
    "plain": Case(lambda i: "content"),
    "four tokens per chunk": Case(lambda i: "content", tokens_per_chunk=4),
    "four tokens per chunk, counted": Case(
        lambda i: "content", tokens_per_chunk=4, says_tokens=True
    ),
    "tool calls only": Case(lambda i: "call"),
    "reasoning, then content": Case(
        lambda i: "reasoning" if i < 50 else "content", visible_from=50
    ),
    "late usage": Case(lambda i: "content", usage_delay_s=USAGE_DELAY_S),
    "interleaved thinking": Case(
        lambda i: ("reasoning", "content", "reasoning", "call")[i // 10 % 4], visible_from=10
    ),
}
TABLE = [(api, name) for api in STREAMS for name in CASES]


@pytest.fixture(scope="module")
def seen() -> dict[tuple[str, str], tuple[Observation, list[dict]]]:
    """Every case's observation and the stamps of its output chunks, all of one dialect at once."""
    found = {}
    for api in STREAMS:
        scripts = {name: case.script(api) for name, case in CASES.items()}
        with ScriptedServer(scripts) as server:

            def turn(name: str, server: ScriptedServer = server, api: str = api) -> Observation:
                client = ChatClient(
                    Endpoint.parse(server.url(name)),
                    api_key=None,
                    timeouts=Timeouts(),
                    tls=None,
                    dialect=DIALECTS[api],
                )
                observation = client.send([b"{}"], 2)
                client.close()
                return observation

            turns = {name: gevent.spawn(turn, name) for name in CASES}
            gevent.joinall(turns.values(), raise_error=True)
            output = slice(2, -2)  # after head and beginning, before end and usage
            for name in CASES:
                found[api, name] = turns[name].value, server.sends(name)[output]
    return found


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


@pytest.mark.parametrize(("api", "name"), TABLE)
def test_first_token_and_first_visible_token_are_when_the_server_sent_them(api, name, seen):
    observation, sends = seen[api, name]
    assert off_s(observation.first_token_at, sends[0]) < TTFT_TOLERANCE_S
    assert off_s(observation.first_visible_at, sends[CASES[name].visible_from]) < TTFT_TOLERANCE_S
    assert observation.first_token_at - observation.sent_at >= FIRST_OUTPUT_S - TTFT_TOLERANCE_S


@pytest.mark.parametrize(("api", "name"), TABLE)
def test_decode_speed_is_the_servers(api, name, seen):
    observation, sends = seen[api, name]
    case = CASES[name]
    # A first chunk that nobody counted is taken for the one token that a prefill yields.
    first = case.tokens_per_chunk if case.says_tokens else 1
    true_tps = (TOKENS - first) / (sends[-1]["before"] - sends[0]["before"])
    assert decode_tps(observation) == pytest.approx(true_tps, rel=TPS_TOLERANCE)


@pytest.mark.parametrize(("api", "name"), TABLE)
def test_every_output_chunk_is_counted_and_nothing_else(api, name, seen):
    observation, sends = seen[api, name]
    case = CASES[name]
    assert observation.outcome == "ok"
    assert observation.output_chunks == len(sends) == TOKENS // case.tokens_per_chunk
    assert observation.first_chunk_tokens == (case.tokens_per_chunk if case.says_tokens else None)
    assert (observation.prompt_tokens, observation.cached_tokens) == (PROMPT_TOKENS, CACHED_TOKENS)
    assert observation.output_tokens == TOKENS
    assert observation.cache_written_tokens == (None if api == "chat" else 10)
    waited_s = observation.ended_at - observation.last_token_at
    assert (
        waited_s >= case.usage_delay_s / 2
    )  # the usage was not waited for in vain; a read may lag
