"""Tokenizers, and the one definition of how many tokens a chat request holds.

Counting happens before traffic, never while it flows. Chat templates differ from model to model,
so a message counts as its text plus a fixed overhead; against the embedded engine, which counts
with the same functions, planned and reported prompt tokens agree, and against any other server the
drift is measured on its own `usage` and corrected (`workload.prompts.Conversation.calibrate`).
"""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

# Role markers and separators around one message. Guess: 3-5 in the ChatML-like templates of
# Qwen, Kimi and Llama 3; the measured drift takes up the difference.
MESSAGE_OVERHEAD_TOKENS = 4
# Markers and the id around one tool call; guess, as above.
TOOL_CALL_OVERHEAD_TOKENS = 6
# The opened assistant turn at the end of a prompt; guess, as above.
GENERATION_PROMPT_TOKENS = 3

# Far above any line, and a small part of a millisecond-long job; guess.
SLICE_CHARS = 16_384

# Where no token goes on, in the patterns of tekken, o200k and cl100k: a run of white space is cut
# behind its last line end, and punctuation takes line ends and slashes behind it along.
_LINE_END = re.compile(r"\n(?=[^\s/]|[ \t]+\S)")

EMBEDDED = "embedded"
# tekken of mistral-common (Apache-2.0): 130k tiktoken-style entries. It stands in for models whose
# own vocabulary is in no package (Kimi's 163k, for one).
_EMBEDDED_FILE = "tekken_240911.json"
_HUB_TIMEOUT_S = 5.0  # guess: it answers within one second, or not at all


class TokenizerError(ValueError):
    """A tokenizer that cannot be had. The message names the option and what is accepted."""


class Tokenizer:
    """Counts tokens of plain text; special tokens in the text count as ordinary text."""

    def __init__(self, name: str, count_many: Callable[[Sequence[str]], list[int]]) -> None:
        self.name = name
        self.count_many = count_many

    def count(self, text: str) -> int:
        return self.count_many([text])[0]


def load_tokenizer(spec: str = EMBEDDED, *, trust_remote_code: bool = False) -> Tokenizer:
    """A tokenizer by name: `embedded` (no network), a tiktoken encoding such as `o200k_base`,
    or a Hugging Face tokenizer by hub name or local folder.

    Raises TokenizerError when it cannot be loaded.
    """
    import tiktoken

    if spec == EMBEDDED:
        return Tokenizer(EMBEDDED, _tiktoken_counter(_embedded_encoding()))
    if spec in tiktoken.list_encoding_names():
        try:
            return Tokenizer(spec, _tiktoken_counter(tiktoken.get_encoding(spec)))
        except Exception as error:  # the library raises whatever its download raised
            raise TokenizerError(_refusal(spec, error)) from error
    return Tokenizer(spec, _hugging_face_counter(spec, trust_remote_code))


def _refusal(spec: str, error: Exception) -> str:
    said = " ".join(str(error).split())  # the libraries write paragraphs
    return (
        f"--tokenizer {spec!r} cannot be loaded ({type(error).__name__}: {said}); accepted: "
        f"{EMBEDDED!r}, a tiktoken encoding (o200k_base, cl100k_base, ...), a Hugging Face name, "
        "or a folder with tokenizer files"
    )


def embedded_ranks() -> dict[bytes, int]:
    """The embedded vocabulary: rank, which is also the id, of each token's bytes, in their order.

    Raises TokenizerError without mistral-common.
    """
    _, ranks = _embedded_vocabulary()
    return ranks


def _embedded_encoding() -> Any:
    import tiktoken

    pattern, ranks = _embedded_vocabulary()
    return tiktoken.Encoding(EMBEDDED, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def _embedded_vocabulary() -> tuple[str, dict[bytes, int]]:
    """The splitting pattern and the ranks."""
    # Found without importing the package: its import pulls in pydantic and takes seconds.
    package = importlib.util.find_spec("mistral_common")
    if package is None or package.origin is None:
        raise TokenizerError("the embedded tokenizer needs the package mistral-common")
    vocabulary = json.loads((Path(package.origin).parent / "data" / _EMBEDDED_FILE).read_bytes())
    config = vocabulary["config"]
    n_ranks = config["default_vocab_size"] - config["default_num_special_tokens"]
    ranks = {base64.b64decode(v["token_bytes"]): v["rank"] for v in vocabulary["vocab"][:n_ranks]}
    return config["pattern"], ranks


def _tiktoken_counter(encoding: Any) -> Callable[[Sequence[str]], list[int]]:
    def count(text: str) -> int:
        # encode_ordinary skips the special-token scan, half the cost of encode().
        return sum(len(encoding.encode_ordinary(part)) for part in in_slices(text))

    return lambda texts: [count(text) for text in texts]


def in_slices(text: str) -> Iterator[str]:
    """A long text in parts that tokenise alone: its tokens are theirs, but for one or two where
    there is no place to cut within a slice.

    One word of a megabyte takes tiktoken 30 times as long as ten of 100 KB, and a megabyte of
    spaces overflows the stack of its regular expressions: a panic, which no `except Exception`
    catches.
    """
    start = 0
    while len(text) - start > SLICE_CHARS:
        full = start + SLICE_CHARS
        ends = [found.end() for found in _LINE_END.finditer(text, start, full)]
        end = ends[-1] if ends else full
        yield text[start:end]
        start = end
    yield text[start:]


def _hugging_face_counter(
    spec: str, trust_remote_code: bool
) -> Callable[[Sequence[str]], list[int]]:
    try:
        tokenizer = _hugging_face_tokenizer(spec, trust_remote_code)
    except Exception as error:  # the library raises a dozen kinds: OSError, ValueError, HTTP ...
        raise TokenizerError(_refusal(spec, error)) from error

    def count_many(texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    return count_many


def _hugging_face_tokenizer(spec: str, trust_remote_code: bool) -> Any:
    """From a folder or the library's cache, else from the hub, which is asked once before: without
    an answer the library tries each file five times, 40 s in all."""
    from huggingface_hub import HfApi
    from transformers import AutoTokenizer  # 1 s and 55 MB: only for those who ask for it

    try:
        return AutoTokenizer.from_pretrained(
            spec, trust_remote_code=trust_remote_code, local_files_only=True
        )
    except (OSError, ValueError):
        if Path(spec).is_dir():
            raise
    HfApi().model_info(spec, timeout=_HUB_TIMEOUT_S)
    return AutoTokenizer.from_pretrained(spec, trust_remote_code=trust_remote_code)


def count_message(tokenizer: Tokenizer, message: Mapping[str, Any]) -> int:
    """Tokens of one chat message: text + reasoning + tool calls (name and arguments) +
    overheads.

    `content` may be a string, None, or OpenAI's list of parts (non-text parts count as nothing).
    """
    content = message.get("content")
    parts = (content,) if isinstance(content, str) else _text_parts(content)
    total = MESSAGE_OVERHEAD_TOKENS + sum(tokenizer.count(text) for text in parts)
    reasoning = message.get("reasoning_content")
    if isinstance(reasoning, str):
        total += tokenizer.count(reasoning)
    for call in message.get("tool_calls") or ():
        function = call["function"]
        total += count_call(tokenizer, function["name"], function["arguments"])
    return total


def _text_parts(content: Iterable[Mapping[str, Any]] | None) -> list[str]:
    return [part["text"] for part in content or () if part.get("type") == "text"]


def count_call(tokenizer: Tokenizer, name: str, arguments: str) -> int:
    """Tokens of one tool call: name + arguments (a JSON text) + overhead."""
    return TOOL_CALL_OVERHEAD_TOKENS + sum(tokenizer.count_many([name, arguments]))


def count_tools(tokenizer: Tokenizer, tools: Iterable[Mapping[str, Any]]) -> int:
    """Tokens of the tool schemas: each counted as compact JSON."""
    return sum(tokenizer.count(orjson.dumps(tool).decode()) for tool in tools)
