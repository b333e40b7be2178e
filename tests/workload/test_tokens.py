"""Tokenizers by name, and what a chat request counts as."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from workload.tokens import (
    MESSAGE_OVERHEAD_TOKENS,
    SLICE_CHARS,
    TOOL_CALL_OVERHEAD_TOKENS,
    Tokenizer,
    _embedded_encoding,
    count_call,
    count_message,
    count_tools,
    in_slices,
    load_tokenizer,
)

# Loads each spec of argv; prints counts or the error, and every address connected to.
LOAD_IN_A_BARE_PROCESS = """
import json, sys
connected = []
sys.addaudithook(lambda name, args: connected.append(str(args[1])) if name == "socket.connect"
                 else None)
from workload.tokens import TokenizerError, load_tokenizer
try:
    said = load_tokenizer(sys.argv[1]).count_many(["def main():", "", "def main(): pass"])
except TokenizerError as error:
    said = str(error)
print(json.dumps({"said": said, "connected": connected}))
"""

WORDS = Tokenizer("words", lambda texts: [len(text.split()) for text in texts])


def loaded_alone(spec: str, **environment: str) -> dict:
    run = subprocess.run(
        [sys.executable, "-c", LOAD_IN_A_BARE_PROCESS, spec],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def fast_tokenizer() -> FastTokenizer:
    fast = FastTokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    fast.train_from_iterator(["def main(): pass", "return main()"] * 20, trainer)
    return fast


@pytest.fixture
def tokenizer_folder(tmp_path: Path, fast_tokenizer: FastTokenizer) -> Path:
    PreTrainedTokenizerFast(tokenizer_object=fast_tokenizer).save_pretrained(tmp_path)
    return tmp_path


def test_the_embedded_tokenizer_counts_without_special_tokens(tokenizer):
    assert tokenizer.name == "embedded"
    assert tokenizer.count_many(["", "a", "def", "return self", "\n"]) == [0, 1, 1, 2, 1]
    assert tokenizer.count("</s>") > 1
    assert tokenizer.count_many([]) == []


@pytest.mark.parametrize("unit", ["a", " ", "\n", "!", "7", "好", "abcdefghij", "x y\n  z\n"])
def test_a_megabyte_of_anything_is_counted(tokenizer, unit):
    """A megabyte of spaces overflowed the tokenizer's stack, one word of it took half a second."""
    few, many = (unit * (chars // len(unit)) for chars in (10_000, 1_000_000))
    assert tokenizer.count(many) == pytest.approx(100 * tokenizer.count(few), rel=0.02)


def test_slices_of_ordinary_text_have_the_tokens_of_the_whole(tokenizer):
    whole = "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("*.py")))
    slices = list(in_slices(whole))
    assert "".join(slices) == whole and len(slices) > 4
    assert max(map(len, slices)) <= SLICE_CHARS
    # Not sliced again: each is short. Together they are what the whole is, tokenised in one go.
    assert tokenizer.count(whole) == len(_embedded_encoding().encode_ordinary(whole))


def test_a_text_that_is_not_long_is_not_cut():
    assert list(in_slices("")) == [""]
    assert list(in_slices("a" * SLICE_CHARS)) == ["a" * SLICE_CHARS]


def test_the_embedded_tokenizer_counts_source_at_two_to_five_characters_a_token(tokenizer):
    text = Path(__file__).read_text()
    assert 2 < len(text) / tokenizer.count(text) < 5


@pytest.mark.parametrize(
    ("message", "tokens"),
    [
        ({"role": "user", "content": "three small words"}, 3),
        ({"role": "user", "content": ""}, 0),
        ({"role": "assistant", "content": None}, 0),
        ({"role": "assistant"}, 0),
        ({"role": "user", "content": [{"type": "text", "text": "two words"}]}, 2),
        (
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "one"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "text", "text": "two three"},
                ],
            },
            3,
        ),
        ({"role": "assistant", "content": "a", "tool_calls": None}, 1),
        ({"role": "assistant", "content": "a", "tool_calls": []}, 1),
    ],
)
def test_a_message_counts_as_its_text_plus_one_overhead(message, tokens):
    assert count_message(WORDS, message) == MESSAGE_OVERHEAD_TOKENS + tokens


def test_tool_calls_count_as_name_arguments_and_an_overhead_each():
    def call(name: str, arguments: str) -> dict:
        function = {"name": name, "arguments": arguments}
        return {"id": "call_1", "type": "function", "function": function}

    calls = [call("read_file", '{"path": "a b"}'), call("grep", "{}")]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    first, second = TOOL_CALL_OVERHEAD_TOKENS + 1 + 3, TOOL_CALL_OVERHEAD_TOKENS + 1 + 1
    assert count_message(WORDS, message) == MESSAGE_OVERHEAD_TOKENS + first + second
    assert count_call(WORDS, "read_file", '{"path": "a b"}') == first


def test_tools_count_as_compact_json_whatever_spaces_they_came_with(tokenizer):
    tool = {"type": "function", "function": {"name": "f", "description": "what é does"}}
    spaced = json.loads(json.dumps(tool, indent=4))
    assert count_tools(tokenizer, [tool, spaced]) == 2 * tokenizer.count(
        orjson.dumps(tool).decode()
    )
    assert count_tools(tokenizer, []) == 0


def test_a_hugging_face_folder_counts_as_its_own_tokenizer_does(tokenizer_folder, fast_tokenizer):
    loaded = load_tokenizer(str(tokenizer_folder))
    texts = ["def main(): pass", "", "return é"]
    counts = [len(fast_tokenizer.encode(text).ids) for text in texts]
    assert loaded.name == str(tokenizer_folder)
    assert loaded.count_many(texts) == counts
    assert loaded.count(texts[0]) == counts[0]
    assert loaded.count_many([]) == []


def test_a_hugging_face_folder_loads_without_network(tokenizer_folder):
    alone = loaded_alone(str(tokenizer_folder))
    assert [type(said) for said in alone["said"]] == [int, int, int]
    assert alone["connected"] == []


def test_the_embedded_tokenizer_loads_without_network():
    assert loaded_alone("embedded") == {"said": [3, 0, 4], "connected": []}


def test_an_unknown_tokenizer_is_refused_by_option_value_and_what_is_accepted():
    said = loaded_alone("no-such/tokenizer", HF_HUB_OFFLINE="1")["said"]
    assert said.startswith("--tokenizer 'no-such/tokenizer' cannot be loaded")
    for accepted in ("embedded", "o200k_base", "Hugging Face", "folder"):
        assert accepted in said.partition("accepted")[2]


def test_a_hub_that_does_not_answer_is_not_asked_file_by_file():
    """The library tries each file five times, 40 s in all."""
    seen = loaded_alone("no-such/tokenizer", HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0")
    assert 0 < len(seen["connected"]) < 5 and "\n" not in seen["said"]
    assert seen["said"].startswith("--tokenizer 'no-such/tokenizer' cannot be loaded")


def test_a_folder_without_a_tokenizer_is_refused_in_the_same_words(tmp_path):
    said = loaded_alone(str(tmp_path), HF_HUB_OFFLINE="1")["said"]
    assert said.startswith(f"--tokenizer {str(tmp_path)!r} cannot be loaded")


def test_the_reasoning_of_a_message_counts():
    tokenizer = load_tokenizer("embedded")
    said = {"role": "assistant", "content": "Done."}
    thought = said | {"reasoning_content": "First the tests, then the rest."}
    more = count_message(tokenizer, thought) - count_message(tokenizer, said)
    assert more == tokenizer.count("First the tests, then the rest.") > 0
