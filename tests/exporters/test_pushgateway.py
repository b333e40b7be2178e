"""Pushes to a real Pushgateway, to one that is not there, and to one that does not answer."""

from __future__ import annotations

from locust import runners as _patched  # noqa: F401  (gevent patches urllib's sockets, as in a run)

import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporters.prometheus.pushgateway import Pushgateway
from tests.support.pushgateway import needs_gateway, running_gateway
from tests.support.stack import free_port, until

PAGE = ("# TYPE tokenswarm_speed gauge\n", 'tokenswarm_speed{process="local"} 20\n')


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real one."""
    log: Path = tmp_path_factory.mktemp("gateway") / "log"
    with running_gateway(free_port(), log) as url:
        yield url


def pushed(url: str, **labels: str) -> list[float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "tokenswarm_speed" and labels.items() <= sample.labels.items()
    ]


@needs_gateway
def test_a_run_is_pushed_under_its_name_and_process_and_stays_after_its_end(gateway):
    pushing = Pushgateway(gateway + "/", lambda: PAGE, delete=False)
    pushing.start("20261123-seed", "worker-3")
    assert until(lambda: pushed(gateway, run="20261123-seed"), 10)
    pushing.stop()
    assert pushed(gateway, job="tokenswarm", run="20261123-seed", process="worker-3") == [20]
    assert pushing.failures == 0


@needs_gateway
def test_the_group_is_deleted_at_the_end_on_request_and_others_stay(gateway):
    staying = Pushgateway(gateway, lambda: PAGE, delete=False)
    going = Pushgateway(gateway, lambda: PAGE, delete=True)
    staying.start("both", "worker-0")
    going.start("both", "worker-1")
    assert until(lambda: len(pushed(gateway, run="both")) == 2, 10)
    staying.stop()
    going.stop()
    assert pushed(gateway, run="both", process="worker-0") == [20]
    assert pushed(gateway, run="both", process="worker-1") == []


@needs_gateway
def test_a_gateway_that_dies_and_comes_back_is_said_twice_and_counted(tmp_path, caplog):
    port, log = free_port(), tmp_path / "log"
    with running_gateway(port, log) as url:
        pushing = Pushgateway(url, lambda: PAGE, delete=False, every_wall_s=0.05)
        pushing.start("run", "local")
        assert until(lambda: pushed(url), 10)
    assert until(lambda: pushing.failures >= 3, 10)
    assert caplog.text.count("traffic goes on") == 1
    with running_gateway(port, log) as url:
        assert until(lambda: pushed(url), 10)
        pushing.stop()
    assert caplog.text.count("succeed again") == 1


def test_a_closed_port_is_said_once_counted_and_holds_nobody_up(caplog):
    url = f"http://127.0.0.1:{free_port()}"
    pushing = Pushgateway(url, lambda: PAGE, delete=False, every_wall_s=0.02)
    pushing.start("run", "local")
    assert until(lambda: pushing.failures >= 3, 10)
    pushing.stop()
    assert caplog.text.count("traffic goes on") == 1


def test_a_gateway_that_never_answers_ends_at_the_limit_while_the_hub_goes_on(caplog):
    ticks = []

    def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            gevent.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        pushing = Pushgateway(url, lambda: PAGE, delete=True, limit_s=0.3)
        ticker = gevent.spawn(tick)
        pushing.start("run", "local")
        assert until(lambda: pushing.failures == 1, 10)
        ticker.kill()
        pushing.stop()
    assert pushing.failures == 2
    assert len(ticks) >= 5
    assert "no answer within 0.3 s" in caplog.text


@needs_gateway
def test_a_page_that_the_gateway_refuses_is_a_failure(gateway, caplog):
    pushing = Pushgateway(gateway, lambda: ("not a metric {\n",), delete=False)
    pushing.start("broken", "local")
    assert until(lambda: pushing.failures >= 1, 10)
    pushing.stop()
    assert "400" in caplog.text
