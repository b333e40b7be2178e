"""Replicas behind a router over HTTP, in driven time: the report says what the router did."""

from __future__ import annotations

from tests.support.stack import LADDER, Stack


def test_the_report_says_that_a_router_without_affinity_has_none(stack: Stack) -> None:
    engine = stack.engine("--clock", "driven", "--replicas", "3")
    pages = [f"{engine}/metrics?replica={n}" for n in range(3)]
    asked = [word for page in pages for word in ("--metrics-url", page)]
    levels = ("--levels", "1M", "--hold", "4m", "--ramp", "1m")
    finished = stack.locust(LADDER, "--host", engine, *levels, *asked, "--run-name", "routed")
    found = stack.summary("routed")
    routing = found["routing"]
    assert routing["source"] == "X-Replica" and len(routing["by_header"]) == 3
    assert routing["policy"]["likeliest"][0] == "round-robin"
    assert routing["cold_moved"] > routing["continuing"] / 3
    by_page = [replica["turns"] for replica in routing["by_page"]]
    assert sum(by_page) == sum(replica["turns"] for replica in routing["by_header"])
    grades = {check["name"]: check["grade"] for check in found["verdict"]["checks"]}
    assert grades["session affinity"] == "SUSPECT" and grades["replicas' balance"] == "VALID"
    assert "session affinity absent: " in finished.out
