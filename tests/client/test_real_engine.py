"""The client against an inference engine that nobody wrote for it: llama.cpp."""

import json
from collections.abc import Iterator
from itertools import pairwise

import gevent
import pytest

from tests.support.llama import MODEL_NAME, running_llama
from tokenswarm.client.dialects import CHAT, DIALECTS
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.stream import ChatClient, Timeouts

OUTPUT_TOKENS = 40
TOKENS_AT_THE_SEAM = 16


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_llama(parallel=2, ctx_tokens=4096) as url:
        yield url


@pytest.fixture(scope="module")
def client(url) -> Iterator[ChatClient]:
    client = ChatClient(Endpoint.parse(url), api_key=None, timeouts=Timeouts(), tls=None)
    yield client
    client.close()


def turn(client: ChatClient, *messages: dict[str, str], max_tokens: int = OUTPUT_TOKENS):
    encoded = b",".join(json.dumps(message).encode() for message in messages)
    segments = [CHAT.opening(MODEL_NAME, (), b"", {}), encoded, CHAT.closing(max_tokens)]
    return client.send(segments, sum(map(len, segments)))


def test_turns_of_a_growing_session_are_seen_with_their_usage(client):
    first = {"role": "user", "content": "one two three " * 100}
    cold = turn(client, first)
    gevent.sleep(0.2)  # it announces keep-alive, and closes after every stream
    warm = turn(client, first, {"role": "user", "content": "and four"})
    for seen in (cold, warm):
        assert (seen.outcome, seen.finish_reason) == ("ok", "length")
        assert seen.output_tokens == seen.output_chunks == OUTPUT_TOKENS
        assert seen.sent_at < seen.head_at <= seen.first_token_at < seen.last_token_at
    assert warm.new_connection
    assert warm.cached_tokens >= cold.prompt_tokens - TOKENS_AT_THE_SEAM


def test_a_prompt_longer_than_the_context_is_context_overflow(client):
    gevent.sleep(0.2)
    seen = turn(client, {"role": "user", "content": "one two three " * 5000})
    assert (seen.outcome, seen.status) == ("context_overflow", 400)


def test_the_models_can_be_listed(client):
    status, _, body = client.get("/v1/models")
    assert status == 200
    assert json.loads(body)["data"][0]["id"] == MODEL_NAME


@pytest.mark.parametrize("name", DIALECTS)
def test_a_session_grows_and_its_cached_tokens_rise_in_every_dialect(url, name):
    dialect = DIALECTS[name]
    frames, text = dialect.frames, memoryview(f"{name} two three ".encode() * 60)
    more = text[:100]  # less than half: beyond that it goes to another slot
    client = ChatClient(
        Endpoint.parse(url), api_key=None, timeouts=Timeouts(), tls=None, dialect=dialect
    )
    history = [frames.user.begin, text, frames.user.end]
    turns = []
    for _ in range(3):
        opening = dialect.opening(MODEL_NAME, (), b"You are brief.", {}, session="a")
        body = [opening, *history, dialect.closing(OUTPUT_TOKENS)]
        turns.append(client.send(body, sum(map(len, body))))
        history += frames.reply_pieces([], [more])
        history += [b"," + frames.user.begin, more, frames.user.end]
        gevent.sleep(0.2)  # it announces keep-alive, and closes after every stream
    client.close()
    for seen in turns:
        assert (seen.outcome, seen.output_tokens) == ("ok", OUTPUT_TOKENS), seen.detail
    for last, following in pairwise(turns):
        assert following.prompt_tokens > last.prompt_tokens
        assert following.cached_tokens >= last.prompt_tokens - TOKENS_AT_THE_SEAM
