"""Dashboards: what is committed is what the code makes, in Grafana's own schema.

No Grafana server runs here. `grafana_foundation_sdk` is generated from Grafana's schema: a key or a
place that the schema does not know is lost on the way through its types.
"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as Schema

from exporters.grafana.__main__ import FOLDER, text
from exporters.grafana.dashboards import DASHBOARDS
from exporters.grafana.panels import Dashboard, Panel, Query, Row, dashboard_json
from tests.support.promql import executable, selectors, series
from tokenswarm.commands.live import CONFIGURATION

ROOT = Path(__file__).parents[2]
METRICS = (ROOT / "docs" / "metrics.md").read_text()
GRAFANA = ROOT / "exporters" / "grafana"

register_default_plugins()
every_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda d: d.uid)


def committed(dashboard: Dashboard) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{dashboard.uid}.json").read_bytes())
    return loaded


def test_committed_json_is_what_the_code_makes():
    written = {path.name: path.read_bytes() for path in FOLDER.glob("*.json")}
    assert written == {f"{dashboard.uid}.json": text(dashboard) for dashboard in DASHBOARDS}


@every_dashboard
def test_grafanas_own_types_keep_every_key(dashboard):
    """A misspelt option would be dropped, a wrong type refused."""
    page = committed(dashboard)
    assert unknown(page) == []


# Top-level keys of an annotation that Grafana's Prometheus plug-in reads (its datasource.ts,
# processAnnotationResponse), and that the types of 11.6 leave out; later ones have them.
PLUGIN_KEYS = re.compile(
    r"\.annotations\.list\[\d+\]\.(step|titleFormat|textFormat|tagKeys|useValueForTime):"
)


def unknown(page: dict[str, Any]) -> list[str]:
    """What Grafana's types drop or change of a dashboard."""
    kept = json.loads(json.dumps(Schema.from_json(page), cls=JSONEncoder))
    return [path for path in lost(page, kept, "") if not PLUGIN_KEYS.match(path)]


def lost(given: Any, kept: Any, where: str):
    """Paths in `given` that are not the same in `kept`; defaults that were added do not count."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from lost(value, kept.get(key), f"{where}.{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, pair in enumerate(zip(given, kept, strict=True)):
            yield from lost(*pair, f"{where}[{index}]")
    elif given != kept:
        yield f"{where}: {given!r} became {kept!r}"


def test_a_misspelt_key_would_be_noticed():
    page = committed(DASHBOARDS[0])
    page["panels"][1]["fieldConfig"]["defaults"]["untis"] = "s"
    assert len(unknown(page)) == 1


@every_dashboard
def test_panels_do_not_overlap_and_fill_their_rows(dashboard):
    panels = committed(dashboard)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        {(x, y) for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])}
        for p in (panel["gridPos"] for panel in panels)
    ]
    assert all(not one & other for one, other in combinations(cells, 2))
    covered = set().union(*cells)
    bottom = max(y for _, y in covered)
    assert covered == {(x, y) for x in range(24) for y in range(bottom + 1)}


@every_dashboard
def test_every_panel_says_what_it_shows(dashboard):
    for panel in dashboard.panels:
        assert panel.title and panel.description.endswith("."), panel.title
        assert panel.unit and panel.queries
        legends = [query.legend for query in panel.queries]
        assert len(set(legends)) == len(legends), panel.title
        assert panel.kind == "stat" or all(legends), panel.title
    for panel in committed(dashboard)["panels"]:
        if panel["type"] != "row":
            assert panel["targets"] and panel["fieldConfig"]["defaults"] is not None


@every_dashboard
def test_the_simulated_marker_is_first(dashboard):
    first = dashboard.panels[0]
    assert first.title == "Endpoint"
    assert [text for _, text, _ in first.texts] == ["SIMULATED", "real endpoint"]


def test_an_objective_is_a_dashed_line_and_what_turns_a_stat_red():
    """Of the run, by its --slo: no limit of an endpoint is written into a dashboard."""
    panels = {panel["title"]: panel for panel in committed(DASHBOARDS[0])["panels"]}
    line, stat = panels["TTFT"], panels["TTFT p50"]
    assert line["targets"][-1]["refId"] == "objective"
    (override,) = line["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": "objective"}
    (transformation,) = stat["transformations"]
    assert transformation["id"] == "configFromData"
    assert transformation["options"]["configRefId"] == stat["targets"][-1]["refId"]
    assert transformation["options"]["mappings"] == [
        {"fieldName": stat["targets"][-1]["legendFormat"], "handlerKey": "threshold1"}
    ]
    for panel in (line, stat):
        (step,) = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert step["color"] == "blue"  # neither green nor red without one


def test_rates_of_tokens_carry_their_unit():
    """Grafana takes a first letter that is an SI prefix for one: the T of "TPM" would be tera."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            if "per minute" in panel.title or "TPM" in panel.title:
                assert panel.unit == "si:tok/min", panel.title
            if "per second" in panel.title or "TPS" in panel.title:
                assert panel.unit == "si:tok/s", panel.title
            if panel.unit.startswith("si:"):
                assert panel.unit[3] not in "fpnµmkMGTPEZY"


@every_dashboard
def test_nothing_of_our_own_prometheus_is_written_out(dashboard):
    """Neither data source nor job, run, target or engine; and nothing falls back to 0."""
    page = committed(dashboard)
    named = {variable["name"] for variable in page["templating"]["list"]}
    assert {"datasource", "job", "run", "target"} <= named
    (datasource,) = (v for v in page["templating"]["list"] if v["type"] == "datasource")
    assert datasource["query"] == "prometheus"
    for query in every_query(dashboard):
        assert not re.search(r'\b(job|instance|run|target)="', query.expr), query
        assert "vector(" not in query.expr, query
        for selector in selectors(query.expr):
            ours = selector.name.startswith("tokenswarm_")
            matched = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
            assert matched["job"] == ("$job" if ours else "$engine_job"), query
            if ours and "process=" not in query.expr and "tokenswarm_run_info" not in query.expr:
                assert matched["run"] == "$run", query


ENGINES = ("vllm:", "sglang:", "trtllm_", "trtllm:", "llamacpp:", "dynamo_frontend_")


def every_query(dashboard: Dashboard) -> list[Query]:
    """Of panels, their objectives, and annotations."""
    queries = [query for panel in dashboard.panels for query in panel.queries]
    queries += [
        Query(expr=panel.objective.expr, legend="{{objective}}")
        for panel in dashboard.panels
        if panel.objective is not None
    ]
    return queries + [Query(expr=a.expr, legend=a.title + a.text) for a in dashboard.annotations]


@every_dashboard
def test_expressions_parse_and_their_variables_exist(dashboard):
    page = committed(dashboard)
    known = {variable["name"] for variable in page["templating"]["list"]} | {"__rate_interval"}
    for query in every_query(dashboard):
        assert set(re.findall(r"\$(\w+)", query.expr)) <= known
        promql_parser.parse(executable(query.expr))


@every_dashboard
def test_series_and_labels_of_expressions_are_documented(dashboard):
    """docs/metrics.md is held to the exporters' pages by their own tests."""
    for query in every_query(dashboard):
        for name in series(query.expr):
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            if name.startswith(("tokenswarm_", "sim:")):
                assert f"`{family}`" in METRICS, name
            else:
                assert name.startswith(ENGINES), name


@every_dashboard
def test_legends_name_labels_that_the_expression_keeps(dashboard):
    for query in every_query(dashboard):
        for label in re.findall(r"{{(\w+)}}", query.legend):
            grouped = re.findall(r"by \(([^)]*)\)", query.expr)
            assert not grouped or any(label in labels for labels in grouped), query


@every_dashboard
def test_whatever_asks_prometheus_asks_the_one_that_is_chosen(dashboard):
    page = committed(dashboard)
    used = [panel["datasource"] for panel in page["panels"] if panel["type"] != "row"]
    used += [v["datasource"] for v in page["templating"]["list"] if v["type"] == "query"]
    used += [t["datasource"] for panel in page["panels"] for t in panel.get("targets", ())]
    used += [annotation["datasource"] for annotation in page["annotations"]["list"]]
    assert {(u["type"], u["uid"]) for u in used} == {("prometheus", "${datasource}")}


def test_grafana_steps_as_prometheus_scrapes():
    (source,) = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )["datasources"]
    shipped = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == shipped["global"]["scrape_interval"]


def test_a_row_that_is_not_full_is_refused():
    panel = Panel(
        title="t", description="d.", queries=(Query(expr="up", legend="up"),), unit="s", span=23
    )
    row = Row(title="short", panels=(panel,))
    dashboard = Dashboard(uid="u", title="t", description="d", variables=(), rows=(row,))
    with pytest.raises(ValueError, match="'short'"):
        dashboard_json(dashboard)


def test_docs_explain_every_panel_and_alert():
    page = (ROOT / "docs" / "live.md").read_text()
    cells = {
        word.strip()
        for line in page.splitlines()
        if line.startswith("| ")
        for word in line.split("|")[1].split(",")
    }
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            parts = {part.strip() for part in panel.title.split(",")}
            assert parts <= cells, panel.title
    rules = yaml.safe_load((CONFIGURATION / "rules.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert "alert" not in rule or f"`{rule['alert']}`" in cells, rule
