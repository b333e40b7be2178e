"""Pages and pushes of real runs: one process, forked workers, workers that lose their master."""

from __future__ import annotations

import os
import signal
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.pushgateway import needs_gateway, running_gateway
from tests.support.stack import (
    AGENTS,
    PREFLIGHT_REQUESTS,
    RUN_TIMEOUT_S,
    START_TIMEOUT_S,
    Stack,
    Started,
    free_port,
    metrics,
    until,
)
from tokenswarm.measure.ledger import Ledger, read, read_run
from tokenswarm.shell.master_watch import SILENCE_S

SPEED = ("--speed", "20")
INVALID_RUN = 4  # exit code: two busy cores may spoil the timing, which is not looked at here
SPEEDS = "tokenswarm_speed"  # one series of each page
LIST_TIMEOUT_S = 30.0  # guess: workers report every 3 s


def samples(url: str) -> list[Sample]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        text = response.read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(url: str, name: str, **labels: str) -> float:
    """The sum over all series of a page with these labels; 0 without any."""
    return sum(
        s.value
        for s in samples(url)
        if s.name == f"tokenswarm_{name}" and labels.items() <= s.labels.items()
    )


def listed(path: Path) -> list[str]:
    """The pages in a file of targets, as URLs."""
    return _urls(path.read_bytes()) if path.exists() else []


def _urls(listing: bytes) -> list[str]:
    return [f"http://{target}" for group in orjson.loads(listing) for target in group["targets"]]


def answered_tokens(ledger: Ledger) -> int:
    return sum(r.prompt_tokens or 0 for r in ledger.records if r.outcome == "ok")


@pytest.fixture(scope="module")
def engine(stack: Stack) -> str:
    return stack.engine(*SPEED)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_in_use_and_a_gateway_that_is_down_stop_no_traffic_in_run_after_run(
    stack: Stack, engine: str, tmp_path: Path, taken: int
) -> None:
    url, web, targets = engine, free_port(), tmp_path / "targets.json"
    started = stack.start_locust(
        *(AGENTS, "--host", url, "--web-host", "127.0.0.1", "--web-port", str(web)),
        *("--metrics-port", str(taken), "--metrics-targets", str(targets)),
        *("--pushgateway", f"http://127.0.0.1:{free_port()}"),
    )
    assert until(lambda: listed(targets), START_TIMEOUT_S), started.err.read_text()
    (page,) = listed(targets)
    assert str(taken) not in page
    assert {s.name for s in samples(page)} == {"tokenswarm_build_info"}
    first = _run(stack, web, url, page, "first")
    assert value(page, "push_failures_total", process="local") >= 1
    _run(stack, web, url, page, "second")
    assert {health.process for health in first.health} == {"local"}
    started.process.send_signal(signal.SIGTERM)
    finished = started.wait()
    assert listed(targets) == []
    assert f"port {taken} is in use" in finished.err
    assert finished.err.count("traffic goes on") == 1
    assert "Traceback" not in finished.printed


def _run(stack: Stack, web: int, url: str, page: str, name: str) -> Ledger:
    """One run from the web form, whose page is its ledger and nothing of a run before."""
    before = metrics(url)["sim:requests_finished_total"]
    _post(web, "swarm", user_count="6", spawn_rate="6", host=url, run_name=name)
    assert until(lambda: value(page, "run_info", run=name), RUN_TIMEOUT_S)
    assert until(lambda: value(page, "turns_total", role="run", outcome="ok") > 3, RUN_TIMEOUT_S)
    _post(web, "stop")
    assert until((stack.runs / name / "summary.json").exists, RUN_TIMEOUT_S)
    ledger = read(stack.runs / name / "ledger.jsonl")
    assert value(page, "turns_total", role="run", simulated="true") == len(ledger.records)
    assert value(page, "answered_prompt_tokens_total") == answered_tokens(ledger)
    assert {s.labels["run"] for s in samples(page) if "run" in s.labels} == {name}
    after = metrics(url)["sim:requests_finished_total"]
    assert after - before == len(ledger.records) + PREFLIGHT_REQUESTS
    return ledger


def _post(web: int, path: str, **form: str) -> None:
    body = urllib.parse.urlencode(form).encode()  # even an empty one makes it a POST
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/{path}", body, timeout=60) as response:
        assert orjson.loads(response.read())["success"]


@needs_gateway
def test_what_forked_workers_push_adds_up_to_what_the_master_pushes(
    stack: Stack, engine: str, tmp_path: Path
) -> None:
    with running_gateway(free_port(), tmp_path / "gateway") as gateway:
        _push_and_add_up(stack, engine, tmp_path / "targets.json", gateway)


def _push_and_add_up(stack: Stack, url: str, targets: Path, gateway: str) -> None:
    port = str(free_port())
    started = stack.start_locust(
        *(AGENTS, "--headless", "--host", url, "-u", "16", "-r", "16", "-t", "10s"),
        *("--processes", "2", "--master-bind-port", port, "--master-port", port),
        *("--run-name", "pushed", "--pushgateway", gateway),
        *("--metrics-port", str(free_port()), "--metrics-targets", str(targets)),
    )
    assert until(lambda: len(listed(targets)) == 3, LIST_TIMEOUT_S), started.err.read_text()
    pages = listed(targets)

    def roles() -> list[str]:
        return sorted(s.labels["role"] for p in pages for s in samples(p) if s.name == SPEEDS)

    assert until(lambda: roles() == ["run", "worker", "worker"], LIST_TIMEOUT_S), roles()
    finished = started.wait()
    assert finished.code in (0, INVALID_RUN), finished.printed
    ledger = read(stack.runs / "pushed" / "ledger.jsonl")
    for role in ("run", "worker"):
        ours = {"job": "tokenswarm", "run": "pushed", "role": role}
        assert value(gateway, "turns_total", **ours) == len(ledger.records) > 0
        assert value(gateway, "answered_prompt_tokens_total", **ours) == answered_tokens(ledger)
        assert value(gateway, "offered_prompt_tokens_total", **ours) == sum(
            record.planned_prompt_tokens for record in ledger.records
        )
        assert value(gateway, "ttft_seconds_sum", **ours) == pytest.approx(
            sum(record.ttft_s or 0 for record in ledger.records)
        )
        assert value(gateway, "in_flight_turns", **ours) == 0
    assert value(gateway, "records_lost_total") == 0
    assert {health.process for health in ledger.health} == {"master", "worker-0", "worker-1"}
    assert ledger.health == read_run(stack.runs / "pushed").health


def test_lost_workers_and_masters_are_shown(stack: Stack, engine: str) -> None:
    url, port, metrics_port = engine, str(free_port()), free_port()
    master = _master(stack, url, port, metrics_port, "orphaned")
    workers = [stack.start_locust(AGENTS, "--worker", "--master-port", port) for _ in range(2)]
    page = f"http://127.0.0.1:{metrics_port}"
    assert until(lambda: _serves(page), START_TIMEOUT_S), master.err.read_text()
    assert until(lambda: value(page, "turns_total", role="run") > 5, RUN_TIMEOUT_S)
    assert until(lambda: len(_discovered(page)) == 3, LIST_TIMEOUT_S)
    others = [other for other in _discovered(page) if other != page]

    _kill(workers[0])
    assert until(lambda: value(page, "workers_lost_total") == 1, LIST_TIMEOUT_S)
    assert value(page, "workers", state="missing") == 1

    _kill(master)
    (left,) = filter(_serves, others)
    silent = until(lambda: value(left, "master_silent_seconds") > SILENCE_S, LIST_TIMEOUT_S)
    assert silent  # and from here on no developer of it sends
    before = value(left, "turns_total")

    second = _master(stack, url, port, metrics_port, "after")
    assert until(lambda: _serves(page), START_TIMEOUT_S), second.err.read_text()
    assert until(lambda: value(page, "records_refused_total") > 0, LIST_TIMEOUT_S)
    after = value(left, "turns_total")
    (process,) = {s.labels["process"] for s in samples(left)}
    assert len(read(stack.runs / "orphaned" / f"{process}.jsonl").records) >= after >= before


def _master(stack: Stack, url: str, port: str, metrics_port: int, name: str) -> Started:
    return stack.start_locust(
        *(AGENTS, "--headless", "--master", "--master-bind-port", port, "--expect-workers", "2"),
        *("--host", url, "-u", "12", "-r", "12", "-t", "5m", "--run-name", name),
        *("--metrics-port", str(metrics_port)),
    )


def _kill(started: Started) -> None:
    os.killpg(started.process.pid, signal.SIGKILL)
    started.process.wait()


def _serves(page: str) -> bool:
    try:
        return bool(samples(page))
    except URLError:
        return False


def _discovered(page: str) -> list[str]:
    with urllib.request.urlopen(f"{page}/sd", timeout=10) as response:
        return _urls(response.read())
