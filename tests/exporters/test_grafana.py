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
from tests.support.promql import executable, series

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
    kept = json.loads(json.dumps(Schema.from_json(page), cls=JSONEncoder))
    assert list(lost(page, kept, "")) == []


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
    kept = json.loads(json.dumps(Schema.from_json(page), cls=JSONEncoder))
    assert len(list(lost(page, kept, ""))) == 1


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


def test_the_objective_is_a_line_at_one_second():
    panel = next(panel for panel in committed(DASHBOARDS[0])["panels"] if panel["title"] == "TTFT")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] == "s" and defaults["thresholds"]["steps"][1]["value"] == 1
    assert defaults["custom"]["thresholdsStyle"]["mode"] == "line"


@every_dashboard
def test_expressions_parse_and_their_variables_exist(dashboard):
    page = committed(dashboard)
    known = {variable["name"] for variable in page["templating"]["list"]} | {"__rate_interval"}
    for panel in dashboard.panels:
        for query in panel.queries:
            assert set(re.findall(r"\$(\w+)", query.expr)) <= known
            promql_parser.parse(executable(query.expr))


@every_dashboard
def test_series_and_labels_of_expressions_are_documented(dashboard):
    """docs/metrics.md is held to the exporters' pages by their own tests."""
    for panel in dashboard.panels:
        for query in panel.queries:
            for name in series(query.expr):
                family = re.sub(r"_(bucket|sum|count)$", "", name)
                if name.startswith(("tokenswarm_", "sim:")):
                    assert f"`{family}`" in METRICS, name
                else:
                    assert name.startswith(("vllm:", "sglang:", "trtllm_")), name


@every_dashboard
def test_legends_name_labels_that_the_expression_keeps(dashboard):
    for panel in dashboard.panels:
        for query in panel.queries:
            for label in re.findall(r"{{(\w+)}}", query.legend):
                grouped = re.findall(r"by \(([^)]*)\)", query.expr)
                assert not grouped or any(label in labels for labels in grouped), query


def test_provisioning_names_the_data_source_of_the_panels():
    (source,) = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )["datasources"]
    assert source["type"] == "prometheus"
    for dashboard in DASHBOARDS:
        page = committed(dashboard)
        used = [panel["datasource"] for panel in page["panels"] if panel["type"] != "row"]
        used += [v["datasource"] for v in page["templating"]["list"] if v["type"] == "query"]
        used += [t["datasource"] for panel in page["panels"] for t in panel.get("targets", ())]
        assert {(u["type"], u["uid"]) for u in used} == {("prometheus", source["uid"])}


def test_grafana_steps_as_prometheus_scrapes():
    (source,) = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )["datasources"]
    shipped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
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
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            assert "alert" not in rule or f"`{rule['alert']}`" in cells, rule
