"""Target files: what they say is as if the options said it; what is wrong is named with its key."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.support.option_parser import OptionParser
from tokenswarm.measure.amounts import OptionError
from tokenswarm.report.analysis.prices import read_prices
from tokenswarm.shell.options import Options, add_arguments, read_options
from tokenswarm.shell.options.target import read_target

EXAMPLES = sorted((Path(__file__).parents[2] / "targets").glob("*.toml"))
WHOLE = """
name = "mine"
url = "https://llm.example.com"
base_path = "/serving"
query = "v=1"
agent = "opencode"
model = "m"
tokenizer = "o200k_base"
gpus = 4
headers = {X-Team = "search", api-key = "$A_KEY"}
session_headers = ["X-User"]
extra_body = {top_k = 1}
metrics_urls = ["http://127.0.0.1:1", "http://127.0.0.1:2/m"]
[[price]]
model = "p"
input = 1.0
output = 2.0
as_of = "2026-06"
source = "a page"
"""


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "hunter2")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "hunter3")


def parsed(*arguments: str) -> argparse.Namespace:
    parser = OptionParser()
    add_arguments(parser)
    found: argparse.Namespace = parser.parse_args(list(arguments), env_vars={})
    return found


def read(path: Path, *arguments: str, host: str | None = None) -> Options:
    return read_options(parsed("--target", str(path), *arguments), host)


def written(folder: Path, text: str) -> Path:
    path = folder / "t.toml"
    path.write_text(text)
    return path


def test_a_file_says_what_the_options_would(tmp_path):
    options = read(written(tmp_path, WHOLE))
    assert options.endpoint.path("/x") == "/serving/x?v=1"
    assert str(options.endpoint) == "https://llm.example.com/serving"
    assert (options.target_name, options.agent.name, options.api) == ("mine", "opencode", "chat")
    assert (options.model, options.tokenizer, options.gpus) == ("m", "o200k_base", 4)
    assert [(h.name, h.value) for h in options.headers] == [
        ("X-Team", "search"),
        ("api-key", "hunter2"),
    ]
    assert options.headers[1].secrets == ("hunter2",)
    assert (options.session_headers, options.extra_body) == (("X-User",), {"top_k": 1})
    assert options.metrics_urls == ("http://127.0.0.1:1/metrics", "http://127.0.0.1:2/m")
    assert "hunter2" not in repr(options)


def test_the_command_line_holds_over_the_file(tmp_path):
    path = written(tmp_path, WHOLE)
    given = ("--model", "n", "--gpus", "8", "--tokenizer", "embedded", "--agent", "codex")
    options = read(path, *given, "--header", "X-Team: mine", host="http://127.0.0.1:9")
    assert (options.model, options.gpus, options.tokenizer) == ("n", 8, "embedded")
    assert (options.agent.name, options.api) == ("codex", "responses")
    assert str(options.endpoint) == "http://127.0.0.1:9/serving"
    assert [h.value for h in options.headers if h.name == "X-Team"] == ["search", "mine"]


def test_its_prices_are_a_price_table(tmp_path):
    assert read_prices(written(tmp_path, WHOLE))["p"].output_usd == 2.0


def test_it_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "t.toml"
    path.write_bytes(b'\xef\xbb\xbfurl = "http://127.0.0.1:1"\n')
    assert read_target(str(path)).url == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('modle = "m"', r"t.toml: unknown key modle \(model\?\); accepted: agent, api, base_path"),
        ("gpus = true", "t.toml: gpus is true or false; accepted: a whole number"),
        ("gpus = 0", "t.toml: gpus is a number that does not fit; accepted: a whole number"),
        ('min_tokens = "yes"', "t.toml: min_tokens is text; accepted: true or false"),
        ("name = 1", "t.toml: name is a number"),
        ("model = 2026-01-01", "t.toml: model is a date or time"),
        ("metrics_urls = [1]", "t.toml: metrics_urls is a list that does not fit"),
        ('headers = {a = {b = "c"}}', "t.toml: headers is a table that does not fit"),
        ('api = "grpc"', "t.toml: api 'grpc': accepted are chat and messages and responses"),
        ('agent = "codex"\napi = "chat"', "t.toml: api chat: codex speaks responses alone"),
        ('base_path = "a b"', "t.toml: base_path 'a b': accepted is a path"),
        ("extra_body = {model = 'm'}", "t.toml: extra_body .*set by tokenswarm itself"),
        ('headers = {api-key = "abc5"}', "t.toml: headers 'api-key: ...': a secret is never"),
        ('headers = {x = "$NOT_SET"}', "t.toml: headers 'x: ...': the variable NOT_SET is not set"),
        ('metrics_urls = ["ftp://x"]', "t.toml: metrics_urls 'ftp://x'"),
        ("price = 1", r"t.toml: no price; accepted are \[\[price\]\] tables"),
        ('[[price]]\nmodel = "p"', "t.toml: price 1: "),
        ("model =", "t.toml: not TOML in UTF-8: "),
    ],
)
def test_what_is_wrong_is_named_with_its_key(tmp_path, line, said):
    with pytest.raises(OptionError, match=said) as refused:
        read(written(tmp_path, f'url = "http://127.0.0.1:1"\n{line}\n'))
    assert "abc5" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('url = "http://me:abc5@127.0.0.1"', "t.toml: url: user name and password"),
        ('url = "127.0.0.1:8000"', "t.toml: url '127.0.0.1:8000': it does not begin with http"),
        ('name = "x"', "t.toml: url is missing; accepted: http://HOST"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_its_secrets(tmp_path, text, said):
    with pytest.raises(OptionError, match=said) as refused:
        read(written(tmp_path, text))
    assert "abc5" not in str(refused.value)


def test_a_file_that_is_not_there_or_in_another_encoding_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"none.toml': No such file"):
        read(tmp_path / "none.toml")
    path = tmp_path / "t.toml"
    path.write_bytes('url = "http://127.0.0.1:1"'.encode("utf-16"))
    with pytest.raises(OptionError, match="not TOML in UTF-8"):
        read(path)


def test_a_wrong_option_keeps_its_own_name(tmp_path):
    path = written(tmp_path, 'url = "http://127.0.0.1:1"\napi = "chat"')
    with pytest.raises(OptionError, match="^--api 'grpc'"):
        read(path, "--api", "grpc")
    with pytest.raises(ValueError, match="^--host 'nowhere'"):
        read(path, host="nowhere")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_a_whole_target(path):
    options = read(path)
    assert options.model
    assert options.target_name in (path.stem, "llama.cpp")
    serves = path.stem not in ("together", "anthropic", "azure")
    assert (options.endpoint.host == "127.0.0.1") == serves
    assert bool(options.metrics_urls) == serves
    assert "NOT RUN HERE" in path.read_text() or path.stem == "llama-cpp"
    if "[[price]]" in path.read_text():
        ((name, price),) = read_prices(path).items()
        assert price == read_prices()[name]


def test_there_are_examples_of_eight():
    assert [path.stem for path in EXAMPLES] == [
        "anthropic",
        "azure",
        "dynamo",
        "llama-cpp",
        "sglang",
        "tensorrt-llm",
        "together",
        "vllm",
    ]
