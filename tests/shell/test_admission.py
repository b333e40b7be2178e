"""What is refused before anything is sent, by the locustfile that is to run."""

from __future__ import annotations

from locust import User, tag, task
from locust.env import Environment

import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tokenswarm.shell.wiring  # noqa: F401 - its options join Locust's parser
from tests.support.deployed_commands import parsed_locust
from tokenswarm import CodingDeveloper
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.shell import admission
from tokenswarm.shell.capacity_search import CapacitySearch
from tokenswarm.shell.options import API_KEY_VARIABLES, OptionError
from tokenswarm.shell.tpm_ladder import TpmLadder

HOST = "http://127.0.0.1:9"
OWN = SimpleNamespace(open_mode=True)  # somebody else's shape of rates
SLO = ("--slo", "ttft_p50<1s")


@pytest.fixture(autouse=True)
def _no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust's parser reads this process's command line, which is pytest's."""
    monkeypatch.setattr(sys, "argv", ["locust"])
    for variable in API_KEY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def checked(shape: Any, *options: str, folder: Path) -> None:
    words = ("locust", "-f", "locustfiles/coding_agents.py", "--headless", *options)
    parsed = parsed_locust((*words, "--runs", str(folder)) if "--runs" not in words else words)
    environment = Environment(parsed_options=parsed, host=HOST)
    environment.shape_class = shape
    admission.checked(environment, parsed, HOST)
    admission.require_no_users(environment, parsed)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        (None, ("--levels", "1M,2M"), "--levels '1M,2M': .*run agents.* with `tokenswarm run ladd"),
        (None, ("--hold", "1m"), "--hold '1m': .*run ladder` or `tokenswarm run capacity`"),
        (TpmLadder, ("--search-from", "1M"), "--search-from '1M': .*accepted.*run capacity"),
        (TpmLadder, ("-t", "1m"), "--run-time 60: .*accepted: --max-developers, --hold"),
        (TpmLadder, ("-u", "5"), "--users 5: .*accepted: --max-developers"),
        (CapacitySearch, ("--levels", "1M", *SLO), "--levels '1M': .*run capacity"),
    ],
)
def test_an_option_that_the_locustfile_does_not_read_is_refused(shape, options, said, tmp_path):
    with pytest.raises(OptionError, match=said):
        checked(shape, *options, folder=tmp_path)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (None, ("--tpm", "1M", "--max-developers", "9", "-t", "1m")),
        (TpmLadder, ("--levels", "1M", "--hold", "1m", "--drain", "1m")),
        (CapacitySearch, ("--search-from", "1M", *SLO)),
        (OWN, ("--levels", "1M", "--search-from", "1M")),
    ],
)
def test_what_it_reads_is_taken(shape, options, tmp_path):
    checked(shape, *options, folder=tmp_path / "not" / "there")
    assert not list(tmp_path.iterdir())


def test_runs_that_cannot_be_kept_are_refused():
    with pytest.raises(OptionError, match=r"--runs '/proc/runs': nothing can be written in /proc"):
        checked(None, "--runs", "/proc/runs", folder=Path())


def test_a_key_that_no_header_can_carry_names_its_variable_and_not_itself(monkeypatch, tmp_path):
    monkeypatch.setenv("TOKENSWARM_API_KEY", "sk-secret\n")
    with pytest.raises(OptionError, match="^TOKENSWARM_API_KEY: .*newline.*accepted") as refusal:
        checked(None, folder=tmp_path)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://user:secret@p:1"}, "HTTPS_PROXY"),
        ({"https_proxy": "http://p:1"}, "https_proxy"),
        ({"ALL_PROXY": "socks5://p:1"}, "ALL_PROXY"),
        ({"HTTP_PROXY": "http://p:1"}, None),  # of the other scheme
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.com"}, None),
        ({"HTTPS_PROXY": ""}, None),
    ],
)
def test_a_proxy_that_is_not_used_is_named_by_its_variable(monkeypatch, variables, named):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert admission.proxy_variable(Endpoint.parse("https://api.example.com")) == named


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (("--tags", "x", "y"), "--tags x y: nothing is left to do for Tagged"),
        (("--exclude-tags", "work"), "--exclude-tags work: nothing is left to do for Tagged"),
        (("--tags", "work"), None),
        (("--exclude-tags", "x"), None),
        ((), None),
    ],
)
def test_tags_that_leave_a_developer_nothing_to_do_are_refused(tmp_path, options, refused):
    class Tagged(User):
        abstract, is_developer = True, True

        @tag("work")
        @task
        def work(self) -> None:
            """Never called."""

    words = ("locust", "-f", "locustfiles/coding_agents.py", "--headless", "--runs", str(tmp_path))
    parsed = parsed_locust((*words, *options))
    environment = Environment(user_classes=[Tagged], parsed_options=parsed, host=HOST)
    with pytest.raises(OptionError, match=refused) if refused else nullcontext():
        admission.checked(environment, parsed, HOST)


@pytest.mark.parametrize(
    ("run_time", "speed", "refused"),
    [(120, 1, True), (121, 1, False), (5, 20, True), (7, 20, False)],
)
def test_a_run_that_ends_in_its_ramp_is_refused(run_time, speed, refused):
    environment = Environment(parsed_options=SimpleNamespace(run_time=run_time), host=HOST)
    options: Any = SimpleNamespace(tpm=1e6, ramp_s=120.0)
    with (
        pytest.raises(OptionError, match=f"--run-time {run_time}: .*--ramp 120s")
        if refused
        else nullcontext()
    ):
        admission.require_time(environment, options, speed)


def of_classes(*options: str, **attributes: str) -> tuple[Any, str | None]:
    """The options with what two classes say, and the host."""
    parsed = parsed_locust(("locust", "-f", "locustfiles/coding_agents.py", *options))
    classes = [type(name, (CodingDeveloper,), dict(attributes)) for name in ("A", "B")]
    environment = Environment(parsed_options=parsed, user_classes=classes)
    return admission.with_classes(environment, parsed), admission.host(environment)


def test_classes_say_what_no_option_does(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text('url = "http://127.0.0.1:7"\n')
    said = {"target": str(file), "agent": "codex", "profile": "agentic"}
    options, host = of_classes(**said)
    assert {name: getattr(options, name) for name in said} == said
    assert host == "http://127.0.0.1:7"
    options, host = of_classes("--agent", "plain", "--profile", "small", **said)
    assert (options.agent, options.profile) == ("plain", "small")
    assert of_classes(host="http://127.0.0.1:8", **said)[1] == "http://127.0.0.1:8"
    other = tmp_path / "o.toml"
    other.write_text('url = "http://127.0.0.1:6"\n')
    given = of_classes("--target", str(other), host="http://127.0.0.1:8", **said)
    assert (given[0].target, given[1]) == (str(other), "http://127.0.0.1:6")
