"""From messages to token counts and blocks, with a stand-in tokenizer of four bytes per token."""

from __future__ import annotations

import pytest

from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.server.errors import ApiError
from tokenswarm.engine.server.prompt_tokens import (
    Prompt,
    PromptReader,
    TokenCounter,
    hash_pieces,
    output_segment,
)


class CountingTokenizer:
    """Four bytes a token; remembers what it was asked to count."""

    def __init__(self) -> None:
        self.counted: list[str] = []

    def count_message(self, message) -> int:
        self.counted.append(message["content"])
        return len(message["content"]) // 4

    def counter(self) -> TokenCounter:
        return TokenCounter("bytes4", self.count_message, lambda tools: 10 * len(tools), 3)


def say(num_tokens: int, mark: str = "x", role: str = "user") -> dict:
    return {"role": role, "content": (mark * 4 * num_tokens)}


def read(reader: PromptReader, messages, tools=()) -> Prompt:
    pieces = hash_pieces(list(tools), messages)
    reader.remember(reader.count(reader.new_pieces(pieces)))
    return reader.prompt(pieces)


@pytest.fixture
def tokenizer():
    return CountingTokenizer()


@pytest.fixture
def reader(tokenizer):
    return PromptReader(tokenizer.counter())


def test_the_count_is_tools_plus_messages_plus_generation_prompt(reader):
    prompt = read(reader, [say(100), say(50)], tools=[{}, {}])
    assert prompt.num_tokens == 20 + 100 + 50 + 3


def test_a_block_belongs_to_the_message_that_holds_its_last_token(reader):
    prompt = read(reader, [say(100), say(20), say(100)])
    # ends at 100, 120 and 220 tokens: full blocks up to 1, 1 and 3
    assert [segment.end for segment in prompt.segments] == [1, 3]


def test_a_prompt_that_grew_begins_with_the_blocks_of_the_old_one(reader):
    history = [say(300, "a"), say(300, "b")]
    old = read(reader, history)
    new = read(reader, [*history, say(300, "c")])
    assert new.segments[: len(old.segments)] == old.segments
    assert len(new.segments) == len(old.segments) + 1


def test_a_change_in_an_early_message_changes_every_later_block(reader):
    one = read(reader, [say(300, "a"), say(300, "b")])
    other = read(reader, [say(300, "z"), say(300, "b")])
    assert not {s.key for s in one.segments} & {s.key for s in other.segments}


def test_tools_come_first_so_other_tools_share_nothing(reader):
    one = read(reader, [say(300)], tools=[{"a": 1}])
    other = read(reader, [say(300)], tools=[{"a": 2}])
    assert one.segments != other.segments


def test_the_order_of_keys_in_a_message_does_not_matter(reader):
    swapped = {"content": say(300)["content"], "role": "user"}
    assert read(reader, [say(300)]) == read(reader, [swapped])


def test_only_new_text_is_tokenised(reader, tokenizer):
    read(reader, [say(10, "a"), say(10, "b")])
    read(reader, [say(10, "a"), say(10, "b"), say(10, "c")])
    assert len(tokenizer.counted) == 3


def test_memory_is_bounded_and_forgets_the_least_recently_used(tokenizer):
    reader = PromptReader(tokenizer.counter(), max_remembered=3)
    read(reader, [say(10, "a")])  # remembers no tools, a
    read(reader, [say(10, "b")])
    read(reader, [say(10, "c")])  # forgets a
    read(reader, [say(10, "b")])
    read(reader, [say(10, "a")])
    assert [content[0] for content in tokenizer.counted] == ["a", "b", "c", "a"]


def test_an_answer_sent_back_hits_the_blocks_it_was_made_in(reader):
    history = [say(300)]
    prompt = read(reader, history)
    answer = {"role": "assistant", "content": "z" * 800}
    made = output_segment(prompt, answer, num_tokens=200)
    sent_back = read(reader, [*history, answer, say(100)])
    assert made == sent_back.segments[1]
    assert made.end == (303 + 200) // BLOCK_TOKENS


@pytest.mark.parametrize(
    "message",
    [
        "text",
        {"content": "no role"},
        {"role": 5},
        {"role": "user", "content": 5},
        {"role": "user", "content": ["text"]},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]},
        {"role": "assistant", "tool_calls": "f"},
    ],
)
def test_a_message_of_the_wrong_form_is_the_clients_error(reader, message):
    with pytest.raises(ApiError) as refused:
        read(reader, [message])
    assert refused.value.status == 400


def test_a_message_nested_too_deep_is_the_clients_error():
    deep: dict = {}
    for _ in range(300):
        deep = {"a": deep}
    with pytest.raises(ApiError):
        hash_pieces([], [{"role": "user", "content": "", "extra": deep}])
