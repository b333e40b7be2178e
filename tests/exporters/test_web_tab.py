"""The page of coding agents: routes, login, limits. How a person sees it:
tests/e2e/test_web_ui.py."""

from __future__ import annotations

from locust import User
from locust.env import Environment

import csv
import io
import sys
import time
from dataclasses import replace
from typing import Any

import gevent
import pytest
from flask.testing import FlaskClient

from exporters.turns import IDLE
from exporters.web import tab as web_tab
from exporters.web.live_run import LiveRun
from exporters.web.tab import ON, STATES, Report, Shown, Verdict, WebTab, Words
from tests.support.records import failed_record, turn_record
from tokenswarm.measure.record import Level
from tokenswarm.shell.live_page import LivePage

SCRIPTS = ("numbers.js", "charts.js", "form.js", "page.js", "uPlot.iife.min.js")
ROUTES = ("", *SCRIPTS, "page.css", "data", "turns.csv", "levels.csv")


@pytest.fixture(autouse=True)
def _no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust's web UI reads this process's command line, which is pytest's."""
    monkeypatch.setattr(sys, "argv", ["locust"])


class Developer(User):
    pass


def change_tpm(text: str) -> str:
    if text != "2M":
        raise ValueError(f"TPM {text!r}: accepted is 2M")
    return "done"


def site(*, login: bool = False, base: str | None = None) -> tuple[WebTab, FlaskClient]:
    environment = Environment(user_classes=[Developer])
    environment.create_local_runner()
    web_ui = environment.create_web_ui("127.0.0.1", 0, web_login=login, delayed_start=True)
    assert web_ui.app is not None
    web_ui.app.secret_key = "for the session of this test"
    tab = web_tab.install(
        environment, columns=["#", "TTFT p50"], grafana_url="http://g/", change_tpm=change_tpm
    )
    assert tab is not None
    if login:
        web_ui.login_manager.user_loader(lambda user: None)
    return tab, web_ui.app.test_client()


def shown(name: str = "first", **changes: Any) -> tuple[LiveRun[int], Shown]:
    live = LiveRun(lambda level, turns: len(turns))
    values: dict[str, Any] = dict(
        live=live,
        heading={"run": name},
        headings=["#", "TTFT\np50"],
        rate_can_change=True,
        now_s=lambda: 100.0,
        load=lambda: IDLE,
        words=lambda now_s: Words([["0", "0.71"]], Verdict("VALID", "all passed", [], [])),
        level_lines=lambda now_s: [["index"], [0]],
    )
    return live, Shown(**(values | changes))


@pytest.mark.parametrize("route", ROUTES)
def test_every_page_asks_for_the_login_where_there_is_one(route: str):
    answer = site(login=True)[1].get(f"/coding-agents/{route}")
    assert answer.status_code in (302, 401) and b"first" not in answer.data
    assert site()[1].get(f"/coding-agents/{route}").status_code == 200


def test_the_rate_asks_for_the_login_too():
    _, client = site(login=True)
    assert client.post("/coding-agents/tpm", json={"tpm": "2M"}).status_code in (302, 401)


def test_before_any_run_there_is_nothing_to_show_and_nothing_to_fail():
    _, client = site()
    assert client.get("/coding-agents/data").json["run"] is None
    assert client.get("/coding-agents/turns.csv").text.startswith("session,turn,kind")
    assert client.get("/stats/requests").json["extended_stats"] == [
        {"key": "coding-agents", "data": []}
    ]


def test_a_page_is_told_only_what_is_new_and_everything_of_a_new_run():
    tab, client = site()
    live, run = shown()
    tab.begin(run)
    gevent.sleep(0)  # the sampler has looked, at 100 s
    live.level(Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0))
    live.add(turn_record())
    first = client.get("/coding-agents/data").json
    assert [window["turns"] for window in first["live"]["windows"]] == [1, 0, 0]
    assert len(first["live"]["dots"]) == 1
    known = {"run": "first", "since": first["live"]["serial"], "seen": first["live"]["now_s"]}
    again = client.get("/coding-agents/data", query_string=known).json
    assert again["live"]["windows"] == again["live"]["dots"] == []
    tab.end()
    assert client.get("/coding-agents/data").json["live"]["ended"]  # it stays until the next start
    other, second = shown("second")
    tab.begin(second)
    other.add(turn_record(session="w0.u9.s0"))
    new = client.get("/coding-agents/data", query_string=known).json
    assert (new["run"]["run"], len(new["live"]["dots"])) == ("second", 1)
    tab.end()


@pytest.mark.parametrize("asked", ["since=x&seen=y", "since=-9&seen=nan", "run=%00&since=1e9"])
def test_a_page_that_asks_nonsense_gets_an_answer(asked: str):
    tab, client = site()
    live, run = shown()
    tab.begin(run)
    live.add(turn_record())
    assert client.get(f"/coding-agents/data?{asked}").json["run"] == {"run": "first"}
    tab.end()


def test_words_that_take_long_are_not_made_again_at_once_but_after_each_level():
    tab, client = site()
    made: list[float] = []

    def slow_words(now_s: float) -> Words:
        made.append(now_s)
        over_at = time.perf_counter() + 0.3  # so the next are due after 6 s
        while time.perf_counter() < over_at:
            pass
        return Words([], None)

    live, run = shown(words=slow_words)
    tab.begin(run)
    for _ in range(3):
        client.get("/coding-agents/data")
    assert len(made) == 1
    level = Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0)
    for change in (level, replace(level, ended_at_s=50.0)):
        live.level(change)
        client.get("/coding-agents/data")
    assert len(made) == 3
    tab.end()


def test_turns_csv_has_every_turn_once_and_no_formula_for_a_spreadsheet():
    tab, client = site()
    live, run = shown()
    tab.begin(run)
    for turn in range(450):  # more than one piece of the download
        live.add(turn_record(turn=turn))
    live.add(failed_record("http_5xx", turn=450, detail='=HYPERLINK("http://x")\n<script>'))
    lines = list(csv.DictReader(io.StringIO(client.get("/coding-agents/turns.csv").text)))
    assert [int(line["turn"]) for line in lines] == list(range(451))
    assert (lines[0]["ttft_s"], lines[0]["decode_tps"]) == ("1.0", "49.5")
    assert (lines[-1]["ttft_s"], lines[-1]["detail"][:2]) == ("", "'=")
    assert "chunk_gaps_s" not in lines[0]
    tab.end()


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"tpm": "2M"}, 200, "done"),
        ({"tpm": "fast"}, 400, "'fast'"),
        ({"tpm": 2}, 400, "accepted"),
        ({}, 400, "accepted"),
        (["2M"], 400, "accepted"),
    ],
)
def test_a_rate_is_checked(body: Any, status: int, part: str):
    answer = site()[1].post("/coding-agents/tpm", json=body)
    assert answer.status_code == status and part in answer.text


def test_a_body_that_is_no_json_is_refused():
    answer = site()[1].post("/coding-agents/tpm", data="tpm=2M")
    assert answer.status_code == 400 and "accepted" in answer.text


def test_nothing_may_come_from_elsewhere_and_no_other_file_is_served():
    _, client = site()
    policy = client.get("/coding-agents/").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'")
    for name in ("uPlot.LICENSE", "..%2fweb_tab.py", "%2e%2e/web_tab.py"):
        assert client.get(f"/coding-agents/{name}").status_code == 404


def test_the_report_is_served_once_the_run_has_ended_and_without_scripts(tmp_path):
    tab, client = site()
    _, run = shown()
    tab.begin(run)
    assert client.get("/coding-agents/report.html").status_code == 404
    (tmp_path / "report.html").write_text("<!doctype html>it")
    tab.end(Report(tmp_path / "report.html", "cp it"))
    said = client.get("/coding-agents/data").json["report"]
    assert said == {"folder": str(tmp_path), "hint": "cp it"}
    answer = client.get("/coding-agents/report.html")
    assert answer.text == "<!doctype html>it"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src")
    tab.begin(shown("second")[1])
    assert client.get("/coding-agents/report.html").status_code == 404
    tab.end()


def test_states_are_in_words_of_ours_and_a_start_form_is_offered_where_nothing_is_on():
    tab, client = site()
    said = client.get("/coding-agents/data").json
    assert (said["state"], said["on"], said["form"]) == ("ready", False, [])
    assert "cleanup" not in STATES.values() and set(ON) <= STATES.keys()


def test_locusts_own_page_has_a_tab_a_link_and_the_files():
    tab, client = site()
    _, run = shown()
    tab.begin(run)
    page = client.get("/").text
    assert './coding-agents/"' in page and "/turns.csv" in page and '"TTFT p50"' in page
    assert client.get("/stats/requests").json["extended_stats"][0]["data"] == [
        {"0": "0", "1": "0.71"}
    ]
    tab.end()


def test_while_a_start_makes_its_prompts_everybody_sees_that_it_is_under_way() -> None:
    tab, client = site()
    with LivePage(tab).preparing():
        assert client.get("/coding-agents/data").get_json()["state"] == web_tab.PREPARING
    assert client.get("/coding-agents/data").get_json()["state"] == "ready"
