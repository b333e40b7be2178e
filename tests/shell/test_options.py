"""Options: amounts and times as people write them, refusals, the environment, and no secret."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.option_parser import OptionParser
from tokenswarm.client.agent import Lineage
from tokenswarm.measure.amounts import parse_duration, parse_tpm
from tokenswarm.shell.options import (
    API_KEY_VARIABLES,
    OptionError,
    Options,
    add_arguments,
    api_key,
    read_options,
)

HOST = "http://localhost:8000"
ROOT = Path(__file__).parents[2]

# Locust's own parser with ours on top, in a process that importing Locust may patch. Prints every
# argument, and what the command line and the environment come to.
LOCUSTS_PARSER = """
import json, sys
from locust import events
from locust.argument_parser import get_parser
from tokenswarm.shell.options import add_arguments, read_options
events.init_command_line_parser.add_listener(lambda parser, **_kw: add_arguments(parser))
parser = get_parser(default_config_files=[])
parsed = parser.parse_args(sys.argv[1:])
options = read_options(parsed, parsed.host)
print(json.dumps({
    "arguments": [[*a.option_strings, str(a.env_var), str(a.default)]
                  for a in parser._actions if hasattr(a, "env_var")],
    "parsed": {name: str(value) for name, value in vars(parsed).items()},
    "options": {name: str(getattr(options, name)) for name in options.__slots__},
}))
"""


def parsed(*arguments: str, **environment: str) -> argparse.Namespace:
    """Through the parser that Locust's is built on, without Locust."""
    parser = OptionParser()
    add_arguments(parser)
    return parser.parse_args(list(arguments), env_vars=environment)


def read(*arguments: str, **environment: str) -> Options:
    return read_options(parsed(*arguments, **environment), HOST)


def locusts_parser(*arguments: str, **environment: str) -> dict:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOKENSWARM_", "LOCUST_", "OPENAI_"))
    }
    run = subprocess.run(
        [sys.executable, "-c", LOCUSTS_PARSER, "--host", HOST, *arguments],
        env={**inherited, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("text", "tpm"),
    [
        ("2.5M", 2_500_000),
        ("2.5m", 2_500_000),
        ("500k", 500_000),
        ("500K", 500_000),
        ("2500000", 2_500_000),
        (" 1 M ", 1_000_000),
        (".5M", 500_000),
        ("3.M", 3_000_000),
        ("0.25", 0.25),
    ],
)
def test_rates_are_read_as_people_write_them(text, tpm):
    assert parse_tpm("--tpm", text) == tpm


@pytest.mark.parametrize(
    "text", ["", "0", "0M", "-1M", "fast", "1e6", "2.5G", "1,5M", "nan", "inf"]
)
def test_other_rates_are_refused(text):
    with pytest.raises(OptionError) as refusal:
        parse_tpm("--tpm", text)
    assert str(refusal.value).startswith(f"--tpm {text!r}: accepted are rates above 0")
    assert "2.5M, 500k or 2500000" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("8m", 480),
        ("1h", 3_600),
        ("90", 90),
        ("1.5h", 5_400),
        (" 2 m ", 120),
        (".5s", 0.5),
    ],
)
def test_times_are_read_as_people_write_them(text, seconds):
    assert parse_duration("--hold", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-5s", "soon", "8min", "1h30m", "1d", "nan", "inf"]
)
def test_other_times_are_refused(text):
    with pytest.raises(OptionError) as refusal:
        parse_duration("--hold", text)
    assert str(refusal.value).startswith(f"--hold {text!r}: accepted are times above 0")
    assert "90s, 8m or 1h" in str(refusal.value)


@given(st.text(max_size=12))
def test_any_text_is_a_positive_amount_or_a_refusal_that_repeats_it(text):
    for parse in (parse_tpm, parse_duration):
        try:
            assert parse("--option", text) > 0
        except OptionError as refusal:
            assert str(refusal).startswith(f"--option {text!r}: accepted")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--tpm", "fast"),
        ("--levels", "1M,,2M"),
        ("--levels", "1M,0"),
        ("--levels", ""),
        ("--hold", "long"),
        ("--drain", "0"),
        ("--ramp", "-1m"),
        ("--max-developers", "0"),
        ("--arrival-cv", "-1.0"),
        ("--arrival-cv", "nan"),
        ("--arrival-cv", "inf"),
        ("--seed", "-1"),
        ("--extra-body", "{"),
        ("--extra-body", "[1]"),
        ("--output-field", "max_output_tokens"),
        ("--connect-timeout", "x"),
        ("--first-token-timeout", "x"),
        ("--stall-timeout", "x"),
        ("--ca-file", "/no/such/file.pem"),
        ("--gpus", "-1"),
        ("--run-name", "../elsewhere"),
        ("--run-name", "a b"),
        ("--metrics-port", "65536"),
        ("--metrics-port", "-1"),
        ("--metrics-port", "http"),
        ("--metrics-targets", "targets.json"),
        ("--pushgateway", "gateway:9091"),
        ("--pushgateway", "ftp://gateway"),
        ("--pushgateway", "http://"),
        ("--pushgateway", "http://gateway:99999"),
        ("--pushgateway", "http://gateway/?a=b"),
    ],
)
def test_a_bad_option_names_itself_its_value_and_what_is_accepted(option, value):
    with pytest.raises(OptionError) as refusal:
        read(f"{option}={value}")
    said = str(refusal.value)
    # Of a list it is the part at fault that is named.
    named = {"1M,,2M": "''", "1M,0": "'0'"}.get(value, value)
    assert said.startswith(option)
    assert named in said.partition("accepted")[0]
    assert "accepted" in said


def test_a_quick_ladder_takes_ten_minutes_with_its_drain():
    quick = read("--quick")
    assert quick.quick and quick.levels_tpm == (1e6, 1.75e6, 2.5e6)
    assert len(quick.levels_tpm) * quick.hold_s + quick.drain_s == 600
    assert read("--quick", "--levels=1M,1.75M,2.5M", "--hold=160s").levels_tpm == quick.levels_tpm
    whole = read()
    assert not whole.quick and len(whole.levels_tpm) * whole.hold_s == 48 * 60


@pytest.mark.parametrize("given", ["--levels=1M,2M", "--hold=8h", "--drain=1m"])
def test_a_quick_ladder_and_another_one_are_not_both_obeyed(given):
    option, value = given.split("=")
    with pytest.raises(OptionError) as refusal:
        read("--quick", given)
    said = str(refusal.value)
    assert said.startswith(f"--quick: it is {option} ") and f"not {value}; accepted: one" in said


def test_a_file_of_targets_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"--metrics-targets '.*/no/t.json': accepted is a file"):
        read("--metrics-port=0", f"--metrics-targets={tmp_path}/no/t.json")


def test_a_password_for_the_gateway_is_refused_and_not_printed():
    with pytest.raises(OptionError, match=r"--pushgateway 'http://...@gateway:9091': ") as refusal:
        read("--pushgateway=http://user:secret@gateway:9091")
    assert "secret" not in str(refusal.value)


def test_pages_and_pushes_are_off_unless_they_are_asked_for(tmp_path):
    off = read().metrics
    assert (off.port, off.host, off.targets, off.pushgateway) == (None, "127.0.0.1", None, None)
    path = tmp_path / "targets.json"
    on = read("--metrics-port=9646", f"--metrics-targets={path}", "--pushgateway=https://g/push")
    assert (on.metrics.port, on.metrics.targets) == (9646, path)
    assert (on.metrics.pushgateway, on.metrics.pushgateway_delete) == ("https://g/push", False)


@pytest.mark.parametrize("host", [None, ""])
def test_a_missing_host_is_refused(host):
    with pytest.raises(OptionError, match=r"--host is missing; accepted: .*http://host:port"):
        read_options(parsed(), host)


def test_a_bad_host_is_refused_by_name():
    with pytest.raises(ValueError, match=r"--host 'localhost': .*; accepted: http://HOST"):
        read_options(parsed(), "localhost")


def test_the_defaults_are_a_closed_run_of_the_seed_profile():
    options = read()
    assert str(options.endpoint) == "http://localhost:8000/v1"
    assert (options.profile, options.seed, options.tokenizer) == ("seed", 1, "embedded")
    assert (options.model, options.tpm, options.corpus, options.gpus) == (None,) * 4
    assert (options.ca_file, options.run_name) == (None, None)
    assert options.levels_tpm == (0.5e6, 1e6, 1.5e6, 2e6, 2.5e6, 3e6)
    assert options.verify_tls and not options.warm and not options.min_tokens
    assert dict(options.extra_body) == {}
    assert options.output_field == "max_tokens"


def test_values_arrive_in_seconds_and_tokens_per_minute(tmp_path):
    pem = tmp_path / "ca.pem"
    pem.write_text("")
    options = read(
        *("--tpm=2.5M", "--levels=500k, 1M", "--hold=90s", "--ramp=1m", "--corpus=src"),
        *("--stall-timeout=1m", "--insecure", f"--ca-file={pem}", "--gpus=4", "--run-name=a.b-1"),
        '--extra-body={"ignore_eos": true}',
    )
    assert (options.tpm, options.levels_tpm) == (2.5e6, (0.5e6, 1e6))
    assert (options.hold_s, options.ramp_s, options.timeouts.stall_s) == (90, 60, 60)
    assert (options.corpus, options.ca_file) == (Path("src"), str(pem))
    assert (options.gpus, options.run_name) == (4, "a.b-1")
    assert options.extra_body == {"ignore_eos": True}
    assert not options.verify_tls


def test_every_option_can_be_set_by_its_environment_variable():
    said = locusts_parser(
        TOKENSWARM_TPM="2.5M",
        TOKENSWARM_LEVELS="1M,2M",
        TOKENSWARM_PROFILE="agentic",
        TOKENSWARM_SEED="7",
        TOKENSWARM_MAX_DEVELOPERS="40",
        TOKENSWARM_ARRIVAL_CV="1.2",
        TOKENSWARM_WARM="true",
        TOKENSWARM_EXTRA_BODY='{"ignore_eos": true}',
        TOKENSWARM_FIRST_TOKEN_TIMEOUT="3m",
        TOKENSWARM_RUN_NAME="nightly",
    )["options"]
    assert (said["tpm"], said["levels_tpm"]) == ("2500000.0", "(1000000.0, 2000000.0)")
    assert (said["profile"], said["seed"], said["run_name"]) == ("agentic", "7", "nightly")
    assert (said["max_developers"], said["arrival_cv"], said["warm"]) == ("40", "1.2", "True")
    assert said["extra_body"] == "{'ignore_eos': True}"
    assert "first_token_s=180.0" in said["timeouts"]


def test_the_command_line_beats_the_environment():
    said = locusts_parser(
        *("--tpm", "1M", "--profile", "wild"), TOKENSWARM_TPM="2M", TOKENSWARM_PROFILE="agentic"
    )["options"]
    assert (said["tpm"], said["profile"]) == ("1000000.0", "wild")


def test_each_option_has_the_variable_of_its_name_and_none_takes_locusts():
    arguments = locusts_parser()["arguments"]
    ours = [a for a in arguments if a[-2].startswith("TOKENSWARM_")]
    assert len(ours) >= 20
    for option, variable, _default in ours:
        assert variable == "TOKENSWARM_" + option[2:].upper().replace("-", "_")
    names = [name for a in arguments for name in a[:-2]]
    assert len(set(names)) == len(names)


def test_the_api_key_is_in_no_option():
    secret = "sk-very-secret"
    said = locusts_parser(TOKENSWARM_API_KEY=secret, OPENAI_API_KEY=secret)
    assert secret not in json.dumps(said)
    variables = {argument[-2] for argument in said["arguments"]}
    assert variables.isdisjoint(API_KEY_VARIABLES)
    ours = [a for a in said["arguments"] if a[-2].startswith("TOKENSWARM_")]
    assert not [a for a in ours if "key" in json.dumps(a).lower()]


def test_the_api_key_is_read_from_the_environment_ours_first(monkeypatch):
    for variable in API_KEY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert api_key() is None
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    assert api_key() == "general"
    monkeypatch.setenv("TOKENSWARM_API_KEY", "ours")
    assert api_key() == "ours"
    monkeypatch.setenv("TOKENSWARM_API_KEY", "")
    assert api_key() == "general"


def test_a_profile_is_fitted_to_a_context_and_a_trace_is_not(tmp_path):
    assert read("--fit-context", "32768").profile == "seed@32768"
    assert read().profile == "seed"
    with pytest.raises(OptionError, match="--fit-context 100: accepted are whole"):
        read("--fit-context", "100")
    trace = tmp_path / "t.jsonl"
    trace.touch()
    with pytest.raises(OptionError, match="--fit-context 8192: a trace's prompts are as long"):
        read("--fit-context", "8192", "--trace", str(trace))


@pytest.mark.parametrize(
    ("arguments", "agent", "api"),
    [
        ((), "plain", "chat"),
        (("--api", "responses"), "plain", "responses"),
        (("--agent", "codex"), "codex", "responses"),
        (("--agent", "claude-code", "--api", "messages"), "claude-code", "messages"),
        (("--agent", "opencode"), "opencode", "chat"),
    ],
)
def test_an_agent_brings_its_dialect(arguments, agent, api):
    options = read(*arguments)
    assert (options.agent.name, options.api) == (agent, api)


def test_an_agent_that_speaks_another_dialect_is_refused_by_name():
    with pytest.raises(OptionError, match="--api chat: codex speaks responses alone; accepted"):
        read("--agent", "codex", "--api", "chat")
    with pytest.raises(OptionError, match="--agent 'cline': accepted are plain and claude-code"):
        read("--agent", "cline")


def test_an_agents_query_stands_before_the_users_own():
    options = read("--agent", "claude-code", "--query", "a=b")
    assert options.endpoint.path("/messages") == "/v1/messages?beta=true&a=b"


def test_the_users_own_headers_hold_over_an_agents_identity():
    lineage = Lineage("own")
    options = read("--agent", "opencode", "--session-header", "X-Session-ID")
    assert options.identify(lineage) == {"x-session-affinity": "own", "X-Session-ID": "own"}
    options = read("--agent", "opencode", "--header", "X-Session-Id: fixed")
    assert options.identify(lineage) == {"x-session-affinity": "own"}
    assert read("--session-header", "X-User").identify(lineage) == {"X-User": "own"}
