"""The preflight: what is asked before traffic, and which answers refuse the run."""

from __future__ import annotations

import json
import logging
from contextlib import closing

import pytest

from tests.support.option_parser import OptionParser
from tests.support.scripted_server import (
    ScriptedServer,
    Step,
    answer,
    delta,
    read,
    refusal,
    send,
    usage,
    wait_close,
)
from tokenswarm.client.dialects import DIALECTS
from tokenswarm.client.stream import ChatClient
from tokenswarm.measure.ledger import Target
from tokenswarm.shell.options import OptionError, Options, add_arguments, read_options
from tokenswarm.shell.preflight import EndpointError, Examined, NotReady, examine, simulation
from workload.profiles import PROFILES

SEED = PROFILES["seed"]  # prompts of 45k to 200k
WHOLE_TOKENS = SEED.max_prompt_tokens + SEED.max_output_tokens
PONG = answer(delta(content="x"), delta("length"), usage(12, 1, cached=0))
SILENT_PONG = answer(delta(content="x"), delta("length"), usage(12, 1))
SIMULATED_PONG = PONG.replace(b"\r\n\r\n", b"\r\nx-sim-speed: 20\r\n\r\n", 1)
INFO = {"simulated": True, "engine": "sim:trtllm-like", "speed": 20.0, "gpus": 4}


CALL = {"id": "p1ngp1ng0", "type": "function", "function": {"name": "ping", "arguments": "{}"}}
HISTORY = [
    {"role": "system", "content": "You ping."},
    {"role": "user", "content": "ping"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "p1ngp1ng0", "content": "pong"},
]
KIMI = (
    "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2"
)


def said(body: object, status: int = 200) -> bytes:
    return refusal(status, json.dumps(body).encode())


def listing(*names: str, **fields: object) -> bytes:
    return said({"object": "list", "data": [{"id": name, **fields} for name in names]})


def script(*answers: bytes) -> list[Step]:
    """Over one connection: a request is read, then answered."""
    return [step for sent in answers for step in (read(), send(sent))] + [wait_close()]


def options_for(url: str, *arguments: str) -> Options:
    parser = OptionParser()
    add_arguments(parser)
    return read_options(parser.parse_args(list(arguments), env_vars={}), url)


def examined(*answers: bytes, options: tuple[str, ...] = ()) -> tuple[Target, float, list[dict]]:
    """The target, its speed, and the requests as the server read them."""
    with ScriptedServer({"s": script(*answers)}) as server:
        asked = options_for(server.url("s"), *options)
        client = ChatClient(asked.endpoint, api_key=None, timeouts=asked.timeouts, tls=None)
        with closing(client):
            found = examine(client, asked, SEED)
        requests = [entry for entry in server.log("s") if entry["what"] == "read"]
    return found.target, found.speed, requests


def refused(*answers: bytes, options: tuple[str, ...] = ()) -> str:
    with pytest.raises(EndpointError) as refusal:
        examined(*answers, options=options)
    return str(refusal.value)


def paths(requests: list[dict]) -> list[str]:
    return [request["head"].split(" ", 2)[1] for request in requests]


def test_an_endpoint_that_answers_is_a_target_at_speed_one_and_is_not_asked_for_a_simulation():
    target, speed, requests = examined(listing("kimi"), PONG)
    assert (target.model, target.engine, target.simulated, target.gpus) == (
        "kimi",
        None,
        False,
        None,
    )
    assert speed == 1.0
    assert paths(requests) == ["/v1/models", "/v1/chat/completions"]


def test_the_request_is_like_those_of_the_traffic():
    _, _, requests = examined(
        listing("kimi"),
        PONG,
        options=("--min-tokens", "--extra-body", '{"tool_choice": "none", "ignore_eos": true}'),
    )
    body = json.loads(requests[1]["body_start"])
    (tool,) = body.pop("tools")
    assert tool["type"] == "function" and tool["function"]["name"] == "ping"
    assert body == {
        "model": "kimi",
        "stream": True,
        "stream_options": {"include_usage": True},
        "tool_choice": "none",
        "ignore_eos": True,
        "messages": HISTORY,
        "max_tokens": 1,
        "min_tokens": 1,
    }


def test_an_endpoint_that_wants_reasoning_in_the_history_gets_it_and_the_run_says_so(caplog):
    wants = said({"error": {"message": KIMI}}, 400)
    with caplog.at_level(logging.WARNING, "tokenswarm"):
        _, _, requests = examined(listing("kimi"), wants, PONG)
    without, with_it = (json.loads(r["body_start"])["messages"][2] for r in requests[1:])
    assert "reasoning_content" not in without
    assert with_it == without | {"reasoning_content": "I ping."}
    assert KIMI in caplog.text and "--history-reasoning on" in caplog.text
    assert looked_at(listing("kimi"), wants, PONG).reasoning
    assert not looked_at(listing("kimi"), PONG).reasoning


def test_who_switched_reasoning_off_is_told_that_the_endpoint_wants_it():
    wants = said({"error": {"message": KIMI}}, 400)
    error = refused(listing("kimi"), wants, options=("--history-reasoning", "off"))
    assert KIMI in error and error.endswith("--history-reasoning on avoids it")


def test_reasoning_that_does_not_help_ends_with_what_the_endpoint_said_last():
    wants = said({"error": {"message": KIMI}}, 400)
    assert "400: no thinking" in refused(
        listing("kimi"), wants, said({"error": {"message": "no thinking"}}, 400)
    )


@pytest.mark.parametrize("api", ["messages", "responses"])
def test_the_history_is_the_dialects_own(api):
    with ScriptedServer({"s": script(listing("kimi"), said({"error": "no"}, 400))}) as server:
        asked = options_for(server.url("s"), "--api", api, "--history-reasoning", "on")
        client = ChatClient(
            asked.endpoint,
            api_key=None,
            timeouts=asked.timeouts,
            tls=None,
            dialect=DIALECTS[api],
        )
        with closing(client), pytest.raises(EndpointError):
            examine(client, asked, SEED)
        request = [entry for entry in server.log("s") if entry["what"] == "read"][1]
    body = json.loads(request["body_start"])
    if api == "messages":
        kinds = [block["type"] for message in body["messages"] for block in message["content"]]
        assert kinds == ["text", "thinking", "tool_use", "tool_result"]
    else:
        kinds = [item["type"] for item in body["input"]]
        assert kinds == ["message", "reasoning", "function_call", "function_call_output"]


def test_the_output_field_is_the_one_of_the_traffic():
    option = ("--output-field", "max_completion_tokens")
    _, _, requests = examined(listing("o5"), PONG, options=option)
    body = json.loads(requests[1]["body_start"])
    assert body["max_completion_tokens"] == 1
    assert "max_tokens" not in body and "min_tokens" not in body


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_tool_choice_names_the_option_that_avoids_it(status):
    detail = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'
    error = refused(listing("kimi"), said({"error": {"message": detail}}, status))
    assert f"{status}: {detail}" in error
    assert """--extra-body '{"tool_choice":"none"}' avoids it""" in error


def test_the_tool_choice_is_not_offered_to_those_who_set_it():
    detail = "tool_choice is not supported"
    error = refused(
        listing("kimi"),
        said({"error": {"message": detail}}, 400),
        options=("--extra-body", '{"tool_choice": "none"}'),
    )
    assert detail in error and "avoids it" not in error


def test_a_refused_output_field_names_the_option_that_avoids_it():
    detail = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    error = refused(listing("o5"), said({"error": {"message": detail}}, 400))
    assert detail in error and error.endswith("--output-field max_completion_tokens avoids it")


@pytest.mark.parametrize("status", [400, 404, 413, 429])
def test_any_other_refusal_says_status_and_detail(status):
    error = refused(listing("kimi"), said({"error": {"message": "extra_forbidden"}}, status))
    assert "--model 'kimi'" in error and f"{status}: extra_forbidden" in error
    assert "avoids it" not in error


def test_a_server_that_fails_is_named_with_what_it_said():
    error = refused(listing("kimi"), said({"error": {"message": "out of memory"}}, 500))
    assert "http_5xx: 500: out of memory" in error


@pytest.mark.parametrize("status", [401, 403])
def test_a_closed_list_of_models_refuses_only_where_the_model_is_not_given(status):
    locked = said({"error": "no"}, status)
    assert f"answers {status} to our API key" in refused(locked)
    target, _, _ = examined(locked, PONG, options=("--model", "kimi"))
    assert target.model == "kimi"


@pytest.mark.parametrize("status", [401, 403])
def test_with_the_model_given_the_one_token_decides_on_the_key(status):
    locked = said({"error": "no"}, status)
    error = refused(locked, locked, options=("--model", "kimi"))
    assert f"answers {status} to our API key" in error and "TOKENSWARM_API_KEY" in error


def test_a_model_is_asked_for_where_the_list_does_not_decide():
    with pytest.raises(OptionError, match="--model is missing .* lists a, b"):
        examined(listing("a", "b"))
    with pytest.raises(OptionError, match="--model is missing .* does not list"):
        examined(said({}, 404))
    assert "lists a, b" in refused(listing("a", "b"), options=("--model", "c"))


def test_the_embedded_engine_is_asked_for_its_speed():
    target, speed, requests = examined(listing("sim-model"), SIMULATED_PONG, said(INFO))
    assert (target.engine, target.simulated, target.gpus) == ("sim:trtllm-like", True, 4)
    assert speed == 20.0
    assert paths(requests)[-1] == "/sim/info"


@pytest.mark.parametrize(
    "info",
    [
        said({"error": "no"}, 404),
        said(INFO, 503),
        said({}),
        said([]),
        said(INFO | {"simulated": False}),
        said(INFO | {"speed": 0}),
        said(INFO | {"speed": "20"}),
        said(INFO | {"speed": 1e308}),
        said(INFO | {"gpus": "4"}),
        said(INFO | {"gpus": 2.5}),
        said(INFO | {"engine": "a\x1b[31m"}),
        said(INFO | {"lateness_p99_s": "late"}),
        said({"simulated": True, "speed": 20.0}),
        refusal(200, b"<html>"),
    ],
)
def test_a_simulation_that_does_not_describe_itself_is_refused(info):
    """At speed 1 its times would be wrong by its speed."""
    error = refused(listing("sim-model"), SIMULATED_PONG, info)
    assert "x-sim-speed" in error and "/sim/info" in error


def test_a_model_name_with_escape_codes_is_not_printed_as_it_is():
    error = refused(listing("a\x1b[31mb"))
    assert "a\\x1b[31mb" in error and "\x1b" not in error


def test_a_simulation_that_hangs_up_instead_of_describing_itself_is_refused():
    with ScriptedServer({"s": [read()]}) as server:
        asked = options_for(server.url("s"))
        client = ChatClient(asked.endpoint, api_key=None, timeouts=asked.timeouts, tls=None)
        with closing(client), pytest.raises(EndpointError, match="/sim/info"):
            simulation(client, asked)


@pytest.mark.parametrize("fields", [{"max_model_len": 32_768}, {"meta": {"n_ctx": 32_768}}])
def test_a_context_shorter_than_the_smallest_prompt_is_refused(fields):
    error = refused(listing("kimi", **fields))
    assert error.startswith("--profile seed: its smallest prompt is 45,000 tokens")
    assert "kimi takes 32,768" in error and "agent-32k" in error
    assert "--fit-context 32768" in error


@pytest.mark.parametrize("field", ["max_model_len", "n_ctx"])
@pytest.mark.parametrize("limit", [SEED.min_prompt_tokens, 131_072, WHOLE_TOKENS - 1])
def test_a_context_shorter_than_the_longest_prompt_and_its_answer_is_a_warning(
    field, limit, caplog
):
    fields = {"max_model_len": limit} if field == "max_model_len" else {"meta": {"n_ctx": limit}}
    with caplog.at_level(logging.WARNING, "tokenswarm"):
        examined(listing("kimi", **fields), PONG)
    (message,) = caplog.messages
    assert "\n" not in message
    for words in ("--profile seed", "200,000", f"kimi takes {limit:,}", "context_overflow"):
        assert words in message


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"max_model_len": WHOLE_TOKENS},
        {"max_model_len": None, "meta": None},
        {"max_model_len": 0},
        {"max_model_len": "32768"},
        {"max_model_len": True},
        {"meta": {"n_ctx_train": 32_768}},
    ],
)
def test_a_context_that_is_long_enough_or_unknown_is_taken_in_silence(fields, caplog):
    with caplog.at_level(logging.WARNING, "tokenswarm"):
        examined(listing("kimi", **fields), PONG)
    assert caplog.messages == []


def test_the_context_is_that_of_the_chosen_model():
    models = [{"id": "short", "max_model_len": 8192}, {"id": "long", "max_model_len": 262_144}]
    target, _, _ = examined(said({"data": models}), PONG, options=("--model", "long"))
    assert target.model == "long"
    assert "short takes 8,192" in refused(said({"data": models}), options=("--model", "short"))


def looked_at(*answers: bytes) -> Examined:
    with ScriptedServer({"s": script(*answers)}) as server:
        asked = options_for(server.url("s"))
        client = ChatClient(asked.endpoint, api_key=None, timeouts=asked.timeouts, tls=None)
        with closing(client):
            return examine(client, asked, SEED)


def test_an_endpoint_that_is_silent_on_its_cache_is_said_with_the_flags_that_make_it_speak(caplog):
    silent = looked_at(listing("kimi"), SILENT_PONG)
    assert not silent.reports_cached
    for flag in ("--enable-prompt-tokens-details", "--enable-cache-report"):
        assert flag in caplog.text


def test_one_that_reports_its_cache_even_of_no_hit_is_left_in_peace(caplog):
    assert looked_at(listing("kimi"), PONG).reports_cached
    assert "--enable-cache-report" not in caplog.text


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_loads_its_model_is_not_ready(status: int):
    loading = said({"error": {"message": "Loading model"}}, status)
    with pytest.raises(NotReady, match="Loading model"):
        examined(listing("kimi"), loading)  # llama.cpp lists its model meanwhile
    with pytest.raises(NotReady, match=f"answers {status} to GET /models"):
        examined(loading)


def test_where_nobody_listens_is_not_ready_and_a_refusal_is_not_waited_for():
    with ScriptedServer({"s": script()}) as server:
        asked = options_for(server.url("s"))
    client = ChatClient(asked.endpoint, api_key=None, timeouts=asked.timeouts, tls=None)
    with closing(client), pytest.raises(NotReady, match="connect"):
        examine(client, asked, SEED)
    with pytest.raises(EndpointError) as refusal:
        examined(listing("kimi"), said({"error": "no"}, 400))
    assert not isinstance(refusal.value, NotReady)
