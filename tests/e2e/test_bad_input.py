"""What cannot work is refused before any traffic: one clear line, a bad exit code, nothing left."""

import os
from pathlib import Path

import pytest

from tests.support.stack import AGENTS, LADDER, Finished, Stack, free_port, until

KEY = "right-key-4711"
WRONG_KEY = "wrong-key-0815"
BAD_SETTING = 2  # exit code


@pytest.fixture(scope="module")
def locked(stack: Stack) -> str:
    """The URL of an engine that wants KEY."""
    return stack.engine(key=KEY)


def _refused(stack: Stack, finished: Finished, *said: str) -> None:
    """One line that says all this; no run folder, no traceback, no key."""
    assert finished.code == BAD_SETTING, finished.printed
    lines = [line for line in finished.err.splitlines() if line.startswith("tokenswarm: ")]
    assert len(lines) == 1, finished.printed
    for words in said:
        assert words in lines[0]
    assert not stack.runs.exists()
    assert "Traceback" not in finished.printed
    assert KEY not in finished.printed and WRONG_KEY not in finished.printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--profile", "nosuch"), ("profile 'nosuch'", "seed", "agentic")),
        (("--profile", "nosuch.toml"), ("nosuch.toml", "No such file")),
        (("--levels", ""), ("--levels ''", "2.5M")),
        (("--levels", "1M,fast"), ("--levels 'fast'", "2.5M")),
        (("--hold", "0"), ("--hold '0'", "8m")),
        (("--max-developers", "0"), ("--max-developers 0", "from 1 on")),
        (("--arrival-cv", "-1"), ("--arrival-cv -1", "Poisson")),
        (("--extra-body", "{x"), ("--extra-body '{x'", "object")),
        (("--ca-file", "nosuch.pem"), ("--ca-file 'nosuch.pem'", "PEM")),
        (("--corpus", "nosuch"), ("--corpus 'nosuch'", "folder")),
        (("--grafana-url", "javascript:x"), ("--grafana-url 'javascript:x'", "http://")),
        (("--run-name", "../up"), ("--run-name '../up'", "letters")),
        (("--run-name", ".."), ("--run-name '..'", "letters")),
        (("--metrics-port", "x"), ("--metrics-port 'x'", "65535")),
        (("--metrics-port", "0", "--metrics-host", "192.0.2.1"), ("--metrics-host", "192.0.2.1")),
        (("--pushgateway", "gateway"), ("--pushgateway 'gateway'", "http://host:port")),
        (("--model", "gpt-nosuch"), ("--model 'gpt-nosuch'", "lists sim-model")),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_a_bad_option_is_named_with_what_is_accepted(
    stack: Stack, locked: str, options: tuple[str, ...], said: tuple[str, ...]
) -> None:
    _refused(stack, stack.locust(LADDER, "--host", locked, *options, key=KEY), *said)


def test_a_bad_rate_is_refused_in_open_mode(stack: Stack, locked: str) -> None:
    run = ("--host", locked, "-u", "2", "-r", "2", "-t", "5s", "--tpm", "abc")
    _refused(stack, stack.locust(AGENTS, *run, key=KEY), "--tpm 'abc'", "2.5M")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("max_promt_tokens = 90_000", ("unknown key max_promt_tokens", "max_prompt_tokens")),
        ("max_prompt_tokens = 5", ("max_prompt_tokens = 5", "more than min_prompt_tokens")),
        ("tool_share = 'all'", ("tool_share", "number")),
        ("tool_share =", ("line 2",)),
    ],
)
def test_a_bad_profile_file_is_named_with_its_key(
    stack: Stack, locked: str, tmp_path: Path, line: str, said: tuple[str, ...]
) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(f'base = "seed"\n{line}\n')
    finished = stack.locust(LADDER, "--host", locked, "--profile", str(path), key=KEY)
    _refused(stack, finished, str(path), *said)


def test_a_missing_host_is_asked_for(stack: Stack) -> None:
    _refused(stack, stack.locust(LADDER), "--host is missing", "http://host:port")


def test_a_host_without_a_scheme_is_refused(stack: Stack) -> None:
    _refused(stack, stack.locust(LADDER, "--host", "localhost:8000"), "--host", "localhost:8000")


def test_an_unreachable_host_is_named(stack: Stack) -> None:
    host = f"http://127.0.0.1:{free_port()}"
    _refused(stack, stack.locust(LADDER, "--host", host), f"--host {host}", "refused")


@pytest.mark.parametrize("key", [None, WRONG_KEY])
def test_a_wrong_key_names_its_variable_and_not_its_value(
    stack: Stack, locked: str, key: str | None
) -> None:
    finished = stack.locust(LADDER, "--host", locked, key=key)
    _refused(stack, finished, locked, "401", "TOKENSWARM_API_KEY")


def test_a_run_that_exists_is_left_alone(stack: Stack, locked: str, tmp_path: Path) -> None:
    kept = tmp_path / "monday" / "ledger.jsonl"
    kept.parent.mkdir()
    kept.write_text("precious")
    run = ("--host", locked, "--runs", str(tmp_path), "--run-name", "monday")
    _refused(stack, stack.locust(LADDER, *run, key=KEY), "--run-name 'monday'", "exists")
    assert list(tmp_path.rglob("*")) == [kept.parent, kept]
    assert kept.read_text() == "precious"


def test_runs_must_be_a_folder(stack: Stack, locked: str, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    path.write_text("")
    finished = stack.locust(LADDER, "--host", locked, "--runs", str(path), key=KEY)
    _refused(stack, finished, f"--runs '{path}'", "a folder")


def test_a_refusal_takes_forked_workers_along(stack: Stack, locked: str) -> None:
    """Left behind, they would serve the next master on this port."""
    port = str(free_port())
    ports = ("--master-bind-port", port, "--master-port", port)
    master = stack.start_locust(
        LADDER, "--headless", "--host", locked, "--profile", "nosuch", "--processes", "2", *ports
    )
    _refused(stack, master.wait(), "profile 'nosuch'")
    assert until(lambda: _is_gone(master.process.pid), 10)


def _is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_an_engine_port_in_use_is_named(stack: Stack, locked: str) -> None:
    port = locked.rpartition(":")[2]
    finished = stack.start("tokenswarm", "engine", "--port", port, env={}).wait()
    assert finished.code == BAD_SETTING
    (line,) = finished.err.splitlines()
    assert f"--port {port}" in line and "in use" in line and "--port 0" in line


def test_a_web_port_in_use_is_named(stack: Stack, locked: str) -> None:
    port = locked.rpartition(":")[2]
    finished = stack.start_locust(AGENTS, "--host", locked, "--web-port", port).wait()
    _refused(stack, finished, f"--web-host 127.0.0.1 --web-port {port}", "in use", "free port")


def test_runs_below_a_file_are_refused(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    runs = ("--runs", str(tmp_path / "file" / "runs"))
    finished = stack.locust(LADDER, "--host", stack.engine("--speed", "20"), *runs)
    _refused(stack, finished, "--runs", "is not a folder")
