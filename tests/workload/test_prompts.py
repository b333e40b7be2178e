"""Prompts: valid chats of exactly known size that only ever grow within a life."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

import workload
from tokenswarm.client.dialects import CHAT, DIALECTS, MESSAGES, RESPONSES, Dialect
from workload.corpus import Corpus
from workload.profile import Profile
from workload.profiles import AGENTIC, PROFILES, SEED, WILD
from workload.prompts import Conversation, shared_prefix
from workload.session import Session, Turn, sessions
from workload.tokens import (
    GENERATION_PROMPT_TOKENS,
    MESSAGE_OVERHEAD_TOKENS,
    count_message,
    count_tools,
)

# A prompt ends with a whole line, and a tool call may be longer than the reply it stands for.
SHARE_OFF, TOKENS_OFF = 0.01, 60
# After the shared prefix: the user message's frame, the salt line's first word, and at most two of
# its five groups, before the digits differ.
SALT_BEGUN_BYTES = len(b'{"role":"user","content":"Workspace 123-456-')
# The bytes of a conversation that are its own: around texts, with the salt or a call's arguments.
MAX_FRAME_BYTES = 2_000


def conversation(
    corpus: Corpus,
    profile: Profile = SEED,
    name: str = "w0.u0.s0",
    *,
    dialect: Dialect = CHAT,
    seed: int = 1,
    salt: str = "run",
    drift: float = 1.0,
    reasoning: bool = False,
) -> Conversation:
    return Conversation(
        corpus,
        shared_prefix(corpus, profile.shared_prefix_tokens),
        dialect.frames,
        name,
        seed=seed,
        salt=salt,
        growth_tokens=round(profile.growth_tokens.mean + profile.output_tokens.mean),
        drift=drift,
        reasoning=reasoning,
    )


def developer(profile: Profile, user: int = 0) -> Iterator[Session]:
    return sessions(profile, 1, 0, user)


def turns(session: Session) -> Iterator[Turn]:
    return iter(session.next_turn, None)


def turn(kind: str, prompt_tokens: int, reply_tokens: int = 300) -> Turn:
    return Turn("s", 0, kind, 0.0, prompt_tokens, 0, 0, reply_tokens, reply_tokens, None, 0)


def messages_bytes(said: Conversation) -> bytes:
    return b"".join(said.segments)


def request(said: Conversation, dialect: Dialect = CHAT) -> dict[str, Any]:
    head = dialect.opening("m", said.shared.tools, said.shared.system, {}, session="s")
    return orjson.loads(b"".join((head, *said.segments, dialect.closing(450))))


def common_prefix(one: bytes, other: bytes) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def assert_is_a_valid_chat(messages: list[dict[str, Any]]) -> None:
    assert [m["role"] for m in messages[:2]] == ["system", "user"]
    assert messages[-1]["role"] in ("user", "tool")
    follows = {
        "user": {"assistant"},
        "assistant": {"user", "tool"},
        "tool": {"assistant", "user"},
    }
    for before, message in pairwise(messages[1:]):
        assert message["role"] in follows[before["role"]]
        assert isinstance(message["content"], str)
        if message["role"] == "tool":
            (call,) = before["tool_calls"]
            assert call["id"] == message["tool_call_id"]
            assert call["type"] == "function"
            assert isinstance(orjson.loads(call["function"]["arguments"]), dict)
        else:
            assert "tool_calls" not in before
    ids = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[a-zA-Z0-9]{9}", call_id) for call_id in ids)


@pytest.fixture(params=sorted(PROFILES))
def profile(request: pytest.FixtureRequest) -> Profile:
    return PROFILES[request.param]


def test_every_prompt_is_a_valid_chat_of_the_size_it_says(profile, corpus, tokenizer):
    for session in islice(developer(profile), 3):
        said = conversation(corpus, profile, session.name)
        for step in islice(turns(session), 30):
            said.advance(step)
        body = request(said)
        assert_is_a_valid_chat(body["messages"])
        counted = (
            count_tools(tokenizer, body["tools"])
            + sum(count_message(tokenizer, message) for message in body["messages"])
            + GENERATION_PROMPT_TOKENS
        )
        assert counted == said.prompt_tokens == said.planned_prompt_tokens
        assert said.body_bytes == len(messages_bytes(said))


def test_awkward_text_makes_valid_chats_of_exact_size_too(awkward_corpus, tokenizer):
    said = conversation(awkward_corpus, WILD)
    for step in islice(turns(next(developer(WILD))), 30):
        said.advance(step)
    body = request(said)
    assert_is_a_valid_chat(body["messages"])
    messages = sum(count_message(tokenizer, message) for message in body["messages"])
    tools = count_tools(tokenizer, body["tools"])
    assert tools + messages + GENERATION_PROMPT_TOKENS == said.prompt_tokens


def test_prompts_are_as_long_as_their_turns_ask(profile, corpus):
    for session in islice(developer(profile), 12):
        said = conversation(corpus, profile, session.name)
        for step in turns(session):
            said.advance(step)
            off = abs(said.prompt_tokens - step.prompt_tokens)
            assert off <= max(SHARE_OFF * step.prompt_tokens, TOKENS_OFF), step


def test_errors_of_size_do_not_add_up(corpus):
    off = []
    for session in islice(developer(AGENTIC), 10):
        said = conversation(corpus, AGENTIC, session.name)
        for step in turns(session):
            said.advance(step)
            off.append(said.prompt_tokens - step.prompt_tokens)
    assert len(off) > 150
    assert abs(sum(off) / len(off)) < 5


def test_within_a_life_a_prompt_starts_with_the_last_one_byte_for_byte(profile, corpus):
    for session in islice(developer(profile), 3):
        said = conversation(corpus, profile, session.name)
        last = b""
        for step in islice(turns(session), 25):
            said.advance(step)
            now = messages_bytes(said)
            if step.kind in ("tool", "user"):
                assert now.startswith(last)
                assert len(now) > len(last)
            last = now


def test_what_triggers_a_turn_is_its_last_message(corpus):
    said = conversation(corpus)
    said.advance(turn("start", 60_000))
    said.advance(turn("tool", 65_000))
    assert request(said)["messages"][-1]["role"] == "tool"
    said.advance(turn("user", 70_000))
    answer, question = request(said)["messages"][-2:]
    assert (answer["role"], question["role"]) == ("assistant", "user")


def test_the_scripted_reply_enters_the_history_at_its_size(corpus, tokenizer):
    said = conversation(corpus)
    said.advance(turn("start", 60_000, reply_tokens=900))
    n_messages = len(request(said)["messages"])
    said.advance(turn("tool", 65_000, reply_tokens=400))
    reply = request(said)["messages"][n_messages]
    assert count_message(tokenizer, reply) == pytest.approx(900, abs=30)
    said.advance(turn("user", 70_000))
    reply = request(said)["messages"][n_messages + 2]
    assert count_message(tokenizer, reply) == pytest.approx(400, abs=30)


def test_a_cache_can_hold_the_last_prompt_or_else_the_shared_prefix(corpus):
    said = conversation(corpus)
    said.advance(turn("start", 60_000))
    assert said.ideal_cached_tokens == said.planned_cached_tokens == said.shared.tokens
    last = said.prompt_tokens - GENERATION_PROMPT_TOKENS
    said.advance(turn("tool", 65_000))
    assert said.ideal_cached_tokens == last
    said.advance(turn("compaction", 45_000))
    assert said.ideal_cached_tokens == said.shared.tokens


def test_a_compaction_keeps_only_the_shared_prefix(corpus):
    lives = []
    for session in developer(WILD):
        said = conversation(corpus, WILD, session.name)
        last = b""
        for step in turns(session):
            said.advance(step)
            now = messages_bytes(said)
            if step.kind == "compaction":
                lives.append((last, now))
            last = now
        if len(lives) >= 3:
            break
    system = {"role": "system", "content": ""}
    for before, after in lives:
        assert common_prefix(before, after) < SALT_BEGUN_BYTES
        assert len(after) < len(before)
        assert_is_a_valid_chat([system, *orjson.loads(b"[" + after + b"]")])


def test_the_shared_prefix_is_the_same_for_all_and_as_long_as_asked(corpus, tokenizer):
    shared = shared_prefix(corpus, 20_000)
    assert shared == shared_prefix(corpus, 20_000)
    assert shared.tokens == pytest.approx(20_000, rel=0.01)
    system = {"role": "system", "content": orjson.loads(b'"%b"' % shared.system)}
    tools = count_tools(tokenizer, map(orjson.loads, shared.tools))
    assert tools == pytest.approx(0.6 * 20_000, rel=0.1)
    assert tools + count_message(tokenizer, system) == shared.tokens


@pytest.mark.parametrize("tokens", [300, 400, 1_000, 15_000, 25_000, 40_000])
def test_a_shared_prefix_of_any_size_is_near_to_half_a_line(tokens, corpus):
    assert shared_prefix(corpus, tokens).tokens == pytest.approx(tokens, abs=30)


def advanced(said: Conversation, profile: Profile = SEED) -> list[bytes]:
    bodies = []
    for step in islice(turns(next(developer(profile))), 5):
        said.advance(step)
        bodies.append(messages_bytes(said))
    return bodies


def test_another_salt_changes_the_salt_line_alone(corpus):
    one, other = conversation(corpus, salt="a"), conversation(corpus, salt="b")
    salt = re.compile(rb"Workspace \d{3}(-\d{3}){4}\\n")
    for mine, theirs in zip(advanced(one), advanced(other), strict=True):
        assert mine != theirs
        assert len(salt.findall(mine)) == 1
        assert salt.sub(b"", mine) == salt.sub(b"", theirs)
    assert one.prompt_tokens == other.prompt_tokens


def test_the_same_seed_name_and_salt_give_the_same_bytes(corpus):
    assert advanced(conversation(corpus, salt="a")) == advanced(conversation(corpus, salt="a"))


def test_another_seed_gives_another_conversation(corpus):
    one, other = conversation(corpus, seed=1, salt=""), conversation(corpus, seed=2, salt="")
    assert advanced(one)[0] != advanced(other)[0]


def test_sessions_share_no_more_than_the_shared_prefix(corpus):
    bodies = []
    for user in range(4):
        for session in islice(developer(SEED, user), 3):
            said = conversation(corpus, SEED, session.name)
            said.advance(next(turns(session)))
            bodies.append(messages_bytes(said))
    for n, body in enumerate(bodies):
        for other in bodies[:n]:
            assert common_prefix(body, other) < SALT_BEGUN_BYTES


def served(said: Conversation, factor: float) -> None:
    """What a server does whose tokenizer finds `factor` as many tokens."""
    said.calibrate(round(said.prompt_tokens * factor))


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_after_one_turn_prompts_are_planned_in_the_servers_tokens(factor, corpus):
    said = conversation(corpus)
    said.advance(turn("start", 50_000))
    assert said.planned_prompt_tokens == pytest.approx(50_000, rel=0.002)
    served(said, factor)
    assert said.planned_prompt_tokens == pytest.approx(50_000, rel=0.002)  # what was planned
    for step in (turn("tool", 80_000), turn("user", 95_000), turn("tool", 100_000)):
        said.advance(step)
        assert said.prompt_tokens * factor == pytest.approx(step.prompt_tokens, rel=0.002)
        assert said.planned_prompt_tokens == pytest.approx(step.prompt_tokens, rel=0.002)
        served(said, factor)


def test_text_already_sent_stays_when_the_server_counts_more(corpus):
    said = conversation(corpus)
    said.advance(turn("start", 80_000))
    served(said, 1.3)  # 104,000 reported: the next turn is too long already
    before = messages_bytes(said)
    said.advance(turn("tool", 90_000))
    assert messages_bytes(said).startswith(before)
    assert said.planned_prompt_tokens == pytest.approx(104_000, rel=0.01)
    said.advance(turn("compaction", 45_000))
    assert said.planned_prompt_tokens == pytest.approx(45_000, rel=0.002)


def test_the_next_session_starts_with_the_learned_drift(corpus):
    said = conversation(corpus, drift=1.3)
    said.advance(turn("start", 80_000))
    assert said.prompt_tokens * 1.3 == pytest.approx(80_000, rel=0.002)
    assert said.planned_cached_tokens == round(said.shared.tokens * 1.3)


def test_an_absurd_count_is_another_fault_and_not_followed(corpus):
    said = conversation(corpus)
    said.advance(turn("start", 50_000))
    served(said, 1.3)
    learned = said.drift
    served(said, 100.0)
    served(said, 0.001)
    assert said.drift == learned


def test_all_segments_are_immutable_and_texts_are_views_into_the_corpus(profile, corpus):
    tapes = [tape.text.obj for tape in corpus.tapes.values()]
    said = conversation(corpus, profile)
    for step in islice(turns(next(developer(profile))), 5):
        said.advance(step)
    for piece in said.segments:
        if isinstance(piece, memoryview):
            assert piece.readonly
            assert any(piece.obj is text for text in tapes)
        else:
            assert isinstance(piece, bytes)
            assert len(piece) < MAX_FRAME_BYTES


def test_a_reply_shorter_than_a_lead_is_a_bare_tool_call(corpus):
    said = conversation(corpus)
    said.advance(turn("start", 50_000, reply_tokens=5))
    n_messages = len(request(said)["messages"])
    said.advance(turn("tool", 52_000))
    assert request(said)["messages"][n_messages]["content"] == ""


def test_growth_smaller_than_a_message_still_appends_a_valid_one(corpus):
    said = conversation(corpus)
    said.advance(turn("start", 50_000, reply_tokens=1))
    for kind in ("tool", "user", "tool"):
        said.advance(turn(kind, 50_000, reply_tokens=1))
    assert_is_a_valid_chat(request(said)["messages"])
    # Three messages' overheads, calls and sentences at most.
    assert said.prompt_tokens < 50_000 + 3 * (2 * MESSAGE_OVERHEAD_TOKENS + 150)


def test_no_file_of_workload_imports_gevent():
    for path in Path(workload.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*(import|from)\s+(gevent|locust)\b", path.read_text(), re.M), path


# The same conversation in every dialect.


def plain_text(content: Any) -> str:
    """The text of a content, of blocks or parts as of a string."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def from_messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What a server makes of it for the chat template."""
    chat = [{"role": "system", "content": plain_text(body["system"])}]
    for message in body["messages"]:
        if message["role"] == "user":
            (block,) = message["content"]
            if block["type"] == "tool_result":
                result = {"role": "tool", "tool_call_id": block["tool_use_id"]}
                chat.append({**result, "content": block["content"]})
            else:
                chat.append({"role": "user", "content": block["text"]})
            continue
        texts = [block for block in message["content"] if block["type"] == "text"]
        assert all(block["text"] for block in texts)  # Anthropic refuses an empty one
        uses = [block for block in message["content"] if block["type"] == "tool_use"]
        said: dict[str, Any] = {"role": "assistant", "content": plain_text(texts)}
        if uses:
            said["tool_calls"] = [call(u["id"], u["name"], orjson.dumps(u["input"])) for u in uses]
        chat.append(said)
    return chat


def from_responses(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The same; an agent's text and the call after it are items of their own."""
    chat = [{"role": "system", "content": body["instructions"]}]
    for item in body["input"]:
        if item["type"] == "function_call_output":
            result = {"role": "tool", "tool_call_id": item["call_id"]}
            chat.append({**result, "content": item["output"]})
        elif item["type"] == "function_call":
            if chat[-1]["role"] != "assistant":
                chat.append({"role": "assistant", "content": ""})
            made = call(item["call_id"], item["name"], item["arguments"].encode())
            chat[-1]["tool_calls"] = [made]
        else:
            chat.append({"role": item["role"], "content": plain_text(item["content"])})
    return chat


def call(call_id: str, name: str, arguments: bytes) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments.decode()}
    return {"id": call_id, "type": "function", "function": function}


TO_CHAT = {"messages": from_messages, "responses": from_responses}


@pytest.mark.parametrize("dialect", [MESSAGES, RESPONSES], ids=lambda dialect: dialect.name)
def test_every_dialect_tells_the_same_conversation(dialect, profile, corpus):
    session = next(developer(profile))
    chat = conversation(corpus, profile, session.name)
    other = conversation(corpus, profile, session.name, dialect=dialect)
    for step in islice(turns(session), 12):
        chat.advance(step)
        other.advance(step)
        assert TO_CHAT[dialect.name](request(other, dialect)) == request(chat)["messages"]
        assert other.prompt_tokens == chat.prompt_tokens
        assert other.ideal_cached_tokens == chat.ideal_cached_tokens
        assert other.body_bytes == len(messages_bytes(other))


def test_tools_have_the_shape_of_their_dialect(corpus):
    said = conversation(corpus)
    schemas = [orjson.loads(schema)["function"] for schema in said.shared.tools]
    body = {name: request(said_in(corpus, d), d)["tools"] for name, d in DIALECTS.items()}
    for n, schema in enumerate(schemas):
        assert body["chat"][n] == {"type": "function", "function": schema}
        assert body["responses"][n] == {"type": "function", **schema}
        tool = dict(body["messages"][n])
        marked = tool.pop("cache_control", None)
        assert marked == ({"type": "ephemeral"} if n == len(schemas) - 1 else None)
        schema = dict(schema)
        assert tool == {"input_schema": schema.pop("parameters"), **schema}


def said_in(corpus: Corpus, dialect: Dialect) -> Conversation:
    said = conversation(corpus, dialect=dialect)
    said.advance(turn("start", 50_000))
    return said


def marks(body: dict[str, Any]) -> list[int]:
    """Which messages carry a cache mark."""
    blocks = [(n, block) for n, m in enumerate(body["messages"]) for block in m["content"]]
    return [n for n, block in blocks if block.get("cache_control") == {"type": "ephemeral"}]


def test_cache_marks_stand_on_tools_system_and_the_last_two_turns_and_move(corpus):
    said = said_in(corpus, MESSAGES)
    for kind, tokens in (("tool", 52_000), ("user", 54_000), ("compaction", 45_000)):
        said.advance(turn(kind, tokens))
        body = request(said, MESSAGES)
        users = [n for n, message in enumerate(body["messages"]) if message["role"] == "user"]
        assert marks(body) == users[-2:]
        assert users[-1] == len(body["messages"]) - 1
        assert body["system"][-1]["cache_control"] == {"type": "ephemeral"}
        assert orjson.dumps(body).count(b'"cache_control"') == 4  # the most that Anthropic takes
        assert said.body_bytes == len(messages_bytes(said))


def test_but_for_cache_marks_a_prompt_starts_with_the_last_one(corpus):
    mark = b',"cache_control":{"type":"ephemeral"}'
    said = said_in(corpus, MESSAGES)
    for kind, tokens in (("tool", 52_000), ("tool", 54_000), ("user", 56_000)):
        before = messages_bytes(said)
        last = said.prompt_tokens - GENERATION_PROMPT_TOKENS
        said.advance(turn(kind, tokens))
        assert not messages_bytes(said).startswith(before)
        assert messages_bytes(said).replace(mark, b"").startswith(before.replace(mark, b""))
        assert said.ideal_cached_tokens == last


def test_responses_name_their_session_and_store_nothing(corpus):
    body = request(said_in(corpus, RESPONSES), RESPONSES)
    assert (body["store"], body["prompt_cache_key"], body["stream"]) == (False, "s", True)
    assert body["max_output_tokens"] == 450


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_with_reasoning_every_tool_call_carries_some_counted_and_no_cache_loses_by_it(
    dialect, corpus
):
    said = conversation(corpus, dialect=dialect, reasoning=True)
    said.advance(turn("start", 50_000))
    for tokens in (52_000, 54_000, 56_000):
        last = said.prompt_tokens - GENERATION_PROMPT_TOKENS
        said.advance(turn("tool", tokens))
        assert said.ideal_cached_tokens == last
        assert said.prompt_tokens == pytest.approx(tokens, rel=SHARE_OFF)
        assert said.body_bytes == len(messages_bytes(said))
    body = orjson.dumps(request(said, dialect))
    calls, thoughts = {
        "chat": (b'"tool_calls"', b'"reasoning_content"'),
        "messages": (b'"type":"tool_use"', b'"type":"thinking"'),
        "responses": (b'"type":"function_call"', b'"type":"reasoning"'),
    }[dialect.name]
    assert body.count(calls) == body.count(thoughts) > 3
