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

STARTED_WITH = "https://models.example"
COMMAND = ("locust", "-f", "locustfiles/coding_agents.py")
START = {"user_count": "2", "spawn_rate": "1", "host": "http://127.0.0.1:9", "run_time": ""}


@pytest.fixture(autouse=True)
def _no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust's web UI reads this process's command line, which is pytest's."""
    monkeypatch.setattr(sys, "argv", ["locust"])


class Developer(User):
    pass


def form(accepted: list[argparse.Namespace], *options: str) -> FlaskClient:
    """A site whose starts end in `accepted`: nothing is started."""
    environment = Environment(
        user_classes=[Developer],
        parsed_options=parsed_locust((*COMMAND, *options)),
    )
    environment.create_local_runner()
    web_ui = environment.create_web_ui("127.0.0.1", 0, delayed_start=True)

    def refuse(options: argparse.Namespace, host: str) -> None:
        accepted.append(options)
        raise OptionError("far enough")

    web_form.install(environment, refuse, STARTED_WITH)
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


REBOUND = "evil.example:8089"


@pytest.mark.parametrize("path", ["/", "/swarm", "/stats/requests"])
def test_no_route_answers_under_a_name_that_is_not_ours(path: str):
    """Host and Origin fit each other: the name of a strange page was given our address."""
    accepted: list[argparse.Namespace] = []
    site, headers = form(accepted), {"Host": REBOUND, "Origin": f"http://{REBOUND}"}
    answer = site.post(path, data=START, headers=headers)
    assert answer.status_code == 403 and not accepted
    assert f"Host '{REBOUND}'" in answer.get_json()["message"]
    assert site.get(path, headers=headers).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8089", "127.0.0.1:8089", "[::1]:8089", "10.0.0.7:80"])
def test_localhost_and_addresses_are_ours(host: str):
    assert answered(START, Host=host)[1]


def test_a_name_is_ours_where_the_command_line_says_so():
    accepted: list[argparse.Namespace] = []
    site = form(accepted, "--web-allowed-host", "load.team.example, Other")
    for host in ("load.team.example", "other:8089"):
        site.post("/swarm", data=START, headers={"Host": host})
    assert len(accepted) == 2


def test_no_answer_lets_pages_of_other_sites_read_it():
    """Locust's own applications say Access-Control-Allow-Origin: * on every route."""
    site = form([])
    for answer in (site.get("/", headers={"Origin": "null"}), site.get("/nowhere")):
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("http://127.0.0.1:9", True),
        ("http://localhost:8000/v1", True),
        (STARTED_WITH, True),
        (f"{STARTED_WITH}/v1", True),
        (f"{STARTED_WITH}:8443", False),
        (STARTED_WITH.replace("https", "http"), False),
        ("http://evil.example", False),
        ("http://10.0.0.7", False),
        ("http://allowed.example:8000", True),
        ("http://ported.example:8000", True),
        ("http://ported.example:9000", False),
        ("http://models.example@evil.example", False),
        ("http://[", False),
    ],
)
def test_a_form_points_the_traffic_where_the_command_line_allows(host: str, taken: bool):
    accepted: list[argparse.Namespace] = []
    site = form(accepted, "--allow-hosts", "allowed.example,ported.example:8000")
    answer = site.post("/swarm", data=START | {"host": host}).get_json()
    assert bool(accepted) == taken
    assert taken or answer["message"].startswith(f"tokenswarm: host {host!r}: ")
    assert taken or "--allow-hosts" in answer["message"]
