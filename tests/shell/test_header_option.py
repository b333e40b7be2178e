"""--header, --query and --session-header: secrets come from variables, and are repeated nowhere."""

from __future__ import annotations

import pytest

from tokenswarm.measure.amounts import OptionError
from tokenswarm.shell.options.header import read_header, read_header_name, read_query


@pytest.fixture(autouse=True)
def variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "hunter2")
    monkeypatch.delenv("NOT_SET", raising=False)


def test_variables_are_replaced_and_known_as_secrets():
    header = read_header("Authorization: Bearer ${A_KEY}")
    assert (header.name, header.value, header.secrets) == (
        "Authorization",
        "Bearer hunter2",
        ("hunter2",),
    )
    assert read_query("api-version=1&key=$A_KEY") == ("api-version=1&key=hunter2", ("hunter2",))


def test_what_is_no_secret_is_said_plainly():
    assert read_header("OpenAI-Beta: responses=v1").value == "responses=v1"
    assert read_query("") == ("", ())
    assert read_header_name("--session-header", "X-Session-ID") == "X-Session-ID"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no colon", "Name: value"),
        ("a b: c", "Name: value"),
        ("Host: elsewhere", "tokenswarm writes it itself"),
        ("api-key: secret-5", "never an option"),
        ("Authorization: Bearer secret-5", "never an option"),
        ("X-Team: $NOT_SET", "NOT_SET is not set"),
        ("X-Team:", "printable ASCII"),
        ("X-Team: \u00e9", "printable ASCII"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(text, said):
    with pytest.raises(OptionError, match=said) as refused:
        read_header(text)
    assert "--header" in str(refused.value)
    assert "secret-5" not in str(refused.value)


@pytest.mark.parametrize("text", ["key=secret-5", "a=b c", "a=$NOT_SET"])
def test_a_query_that_cannot_be_sent_is_refused_without_its_value(text):
    with pytest.raises(OptionError, match="--query") as refused:
        read_query(text)
    assert "secret-5" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "Content-Length"])
def test_a_session_header_is_a_headers_name(name):
    with pytest.raises(OptionError, match="--session-header"):
        read_header_name("--session-header", name)
