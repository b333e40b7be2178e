"""Replicas behind a router over HTTP, in driven time: the report says what the router did."""

from __future__ import annotations

import orjson

from tests.support.stack import LADDER, Stack


def test_the_report_says_that_a_router_without_affinity_has_none(stack: Stack) -> None:
    engine = stack.engine("--clock", "driven", "--replicas", "2")
    pages = [f"{engine}/metrics?replica={n}" for n in range(2)]
    asked = [word for page in pages for word in ("--metrics-url", page)]
    levels = ("--levels", "1M", "--hold", "90s")
    finished = stack.locust(LADDER, "--host", engine, *levels, *asked, "--run-name", "routed")
    found = orjson.loads((stack.runs / "routed" / "summary.json").read_bytes())
    routing = found["routing"]
    assert routing["source"] == "X-Replica" and len(routing["by_header"]) == 2
    assert routing["policy"]["likeliest"][0] == "round-robin"
    assert routing["cold_moved"] > routing["continuing"] / 3
    by_page = [replica["turns"] for replica in routing["by_page"]]
    assert sum(by_page) == sum(replica["turns"] for replica in routing["by_header"])
    grades = {check["name"]: check["grade"] for check in found["verdict"]["checks"]}
    assert grades["session affinity"] == "SUSPECT"
    assert "% of turns met a cold replica: affinity absent" in finished.out
