"""What the web UI's start form may ask for, and who may send it."""

from __future__ import annotations

from locust import User
from locust.env import Environment

import argparse
import sys
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.deployed_commands import parsed_locust
from tokenswarm.shell import web_form
from tokenswarm.shell.options import OptionError

COMMAND = ("locust", "-f", "locustfiles/coding_agents.py")
START = {"user_count": "2", "spawn_rate": "1", "host": "http://127.0.0.1:9", "run_time": ""}


@pytest.fixture(autouse=True)
def _no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust's web UI reads this process's command line, which is pytest's."""
    monkeypatch.setattr(sys, "argv", ["locust"])


class Developer(User):
    pass


def form(accepted: list[argparse.Namespace]) -> FlaskClient:
    """A site whose starts end in `accepted`: nothing is started."""
    environment = Environment(
        user_classes=[Developer],
        parsed_options=parsed_locust(COMMAND),
    )
    environment.create_local_runner()
    web_ui = environment.create_web_ui("127.0.0.1", 0, delayed_start=True)

    def refuse(options: argparse.Namespace, host: str) -> None:
        accepted.append(options)
        raise OptionError("far enough")

    web_form.install(environment, refuse)
    assert web_ui.app is not None
    return web_ui.app.test_client()


def answered(fields: dict[str, str], **headers: str) -> tuple[dict[str, Any], bool]:
    """The answer to a start, and whether its options were looked at."""
    accepted: list[argparse.Namespace] = []
    answer = form(accepted).post("/swarm", data=fields, headers=headers)
    return answer.get_json(), bool(accepted)


def test_the_web_ui_listens_on_this_machine_alone_unless_told_otherwise():
    assert parsed_locust(COMMAND).web_host == "127.0.0.1"
    assert parsed_locust((*COMMAND, "--web-host", "0.0.0.0")).web_host == "0.0.0.0"


def test_the_forms_own_fields_are_looked_at():
    answer, looked_at = answered(START)
    assert looked_at and answer["message"] == "tokenswarm: far enough"


def test_objectives_are_taken_as_a_list_and_kept_only_by_a_start_that_is_not_refused():
    accepted: list[argparse.Namespace] = []
    client = form(accepted)
    client.post("/swarm", data=START | {"objectives": "ttft_p50<1s, failures<1%"})
    assert accepted[0].slo == ["ttft_p50<1s", "failures<1%"]
    client.post("/swarm", data=START)
    assert accepted[1].slo == []  # the first was refused


@pytest.mark.parametrize("name", ["pushgateway", "runs", "insecure", "web_port", "no_such_option"])
def test_a_forged_field_is_refused_before_it_sets_anything(name: str):
    answer, looked_at = answered(START | {name: "x"})
    assert not answer["success"] and not looked_at
    assert answer["message"].startswith(f"tokenswarm: {name}: not a field of the start form")


@pytest.mark.parametrize("origin", ["https://elsewhere.example", "http://localhost:8090", "null"])
def test_a_start_from_another_sites_page_is_refused(origin: str):
    answer, looked_at = answered(START, Origin=origin)
    assert not answer["success"] and not looked_at
    assert repr(origin) in answer["message"]


@pytest.mark.parametrize("path", ["/swarm", "/stop", "/stats/reset"])
def test_no_route_takes_a_post_from_another_sites_page(path: str):
    answer = form([]).post(path, headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 403


@pytest.mark.parametrize("origin", ["http://localhost", "https://localhost"])
def test_a_start_from_its_own_page_is_taken(origin: str):
    assert answered(START, Origin=origin)[1]
