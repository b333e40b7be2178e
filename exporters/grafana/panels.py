"""Panels, rows and dashboards as values, and the JSON that Grafana reads.

Schema 41 (Grafana 11.6 and later). Panels of a row stand side by side, 24 columns wide in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

SCHEMA_VERSION = 41  # Grafana 11.6; later ones migrate it
# Whichever Prometheus is chosen at the top of the page, whatever its uid is there.
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
OBJECTIVE = "objective"
DEFAULT_WINDOW = "1m"
# Grafana scales what follows "si:" by k, M, G. Its first letter must be no such prefix: of "si:TPM"
# it would read the T as tera (grafana-data's symbolFormatters.ts, getOffsetFromSIPrefix).
TPM_UNIT = "si:tok/min"
TPS_UNIT = "si:tok/s"

Json = dict[str, Any]
Kind = Literal["timeseries", "stat", "heatmap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression; `legend` is Grafana's, with {{label}} for a label's value."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Thresholds that the run itself was given: red dashed lines, or what turns a stat red."""

    expr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """Stretches of time in which an expression has data; title and text name its labels."""

    name: str
    expr: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """unit: Grafana's name of it. limit: where a red line stands in every run. objective: the
    run's own limits. span: columns of 24. texts: what a stat shows instead of a value."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str
    span: int
    kind: Kind = "timeseries"
    limit: float | None = None
    objective: Objective | None = None
    at_most: float | None = None  # end of the axis
    stacked: bool = False
    logarithmic: bool = False
    below_zero: bool = False
    shows: Literal["auto", "name"] = "auto"  # a stat's value (with several: and legend), or legend
    texts: tuple[tuple[float, str, str], ...] = ()  # value, text, colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels side by side. height in Grafana's units of about 30 pixels."""

    title: str
    panels: tuple[Panel, ...]
    height: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the top of the page, filled by a label_values() query; several or all."""

    name: str
    label: str
    values: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]
    annotations: tuple[Annotation, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)


def dashboard_json(dashboard: Dashboard) -> Json:
    """What Grafana loads. Raises ValueError where a row's panels do not fill 24 columns."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["tokenswarm"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all panels
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "timezone": "browser",
        "fiscalYearStartMonth": 0,
        "templating": {"list": [_datasource(), *map(_variable, dashboard.variables), _window()]},
        "annotations": {"list": list(map(_annotation, dashboard.annotations))},
        "links": [_links()],
        "panels": list(_placed(dashboard)),
    }


def _placed(dashboard: Dashboard) -> list[Json]:
    numbers, top = count(1), 0
    placed: list[Json] = []
    for row in dashboard.rows:
        if sum(panel.span for panel in row.panels) != COLUMNS:
            raise ValueError(f"row {row.title!r} of {dashboard.uid}: spans do not add up to 24")
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        placed.append(
            {
                "type": "row",
                "id": next(numbers),
                "title": row.title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        top, left = top + 1, 0
        for panel in row.panels:
            place = {"h": row.height, "w": panel.span, "x": left, "y": top}
            placed.append(_panel(panel, next(numbers)) | {"gridPos": place})
            left += panel.span
        top += row.height
    return placed


def _panel(panel: Panel, number: int) -> Json:
    options = {
        "timeseries": _TIMESERIES,
        "stat": _STAT | {"textMode": panel.shows},
        "heatmap": _heatmap(panel.unit),
    }
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "targets": _targets(panel),
        "transformations": _transformations(panel),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": options[panel.kind],
    }


def _targets(panel: Panel) -> list[Json]:
    targets = [_target(panel, chr(ord("A") + at), query) for at, query in enumerate(panel.queries)]
    if panel.objective is not None:
        legend = OBJECTIVE if panel.kind == "stat" else f"{OBJECTIVE} {{{{objective}}}}"
        query = Query(expr=panel.objective.expr, legend=legend)
        targets.append(_target(panel, OBJECTIVE, query))
    return targets


def _transformations(panel: Panel) -> list[Json]:
    """Of a stat with an objective: its value is where green ends, and is not shown itself."""
    if panel.objective is None or panel.kind != "stat":
        return []
    threshold = {"fieldName": OBJECTIVE, "handlerKey": "threshold1"}
    options = {"configRefId": OBJECTIVE, "mappings": [threshold]}
    return [{"id": "configFromData", "options": options}]


def _overrides(panel: Panel) -> list[Json]:
    if panel.objective is None or panel.kind != "timeseries":
        return []
    look = {
        "color": {"mode": "fixed", "fixedColor": "red"},
        "custom.lineStyle": {"fill": "dash", "dash": [10, 10]},
        "custom.lineWidth": 1,
    }
    properties = [{"id": key, "value": value} for key, value in look.items()]
    matcher = {"id": "byFrameRefID", "options": OBJECTIVE}
    return [{"matcher": matcher, "properties": properties}]


def _target(panel: Panel, name: str, query: Query) -> Json:
    return {
        "refId": name,
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": "heatmap" if panel.kind == "heatmap" else "time_series",
        "editorMode": "code",
        "instant": panel.kind == "stat",
        "range": panel.kind != "stat",
    }


def _defaults(panel: Panel) -> Json:
    if panel.kind == "heatmap":
        return {"custom": {"scaleDistribution": {"type": "linear"}}}
    # Green is a judgement: blue where there is nothing to judge by.
    steps: list[Json] = [{"color": "blue" if panel.limit is None else "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    defaults: Json = {
        "unit": panel.unit,
        "min": None if panel.logarithmic or panel.below_zero else 0,
        "max": panel.at_most,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [_mapping(panel.texts)] if panel.texts else [],
    }
    if panel.kind == "timeseries":
        defaults["custom"] = _custom(panel)
    return {key: value for key, value in defaults.items() if value is not None}


def _custom(panel: Panel) -> Json:
    scale = {"type": "log", "log": 10} if panel.logarithmic else {"type": "linear"}
    return {
        "drawStyle": "bars" if panel.stacked else "line",
        "lineWidth": 2,
        "fillOpacity": 60 if panel.stacked else 0,
        "showPoints": "never",
        "spanNulls": False,
        "scaleDistribution": scale,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "off" if panel.limit is None else "line"},
    }


def _mapping(texts: tuple[tuple[float, str, str], ...]) -> Json:
    shown = {
        f"{value:g}": {"text": text, "color": colour, "index": index}
        for index, (value, text, colour) in enumerate(texts)
    }
    return {"type": "value", "options": shown}


_TIMESERIES: Json = {
    "legend": {
        "showLegend": True,
        "displayMode": "table",
        "placement": "bottom",
        "calcs": ["lastNotNull", "max"],
    },
    "tooltip": {"mode": "multi", "sort": "desc"},
}
_STAT: Json = {
    "graphMode": "none",
    "colorMode": "background",
    "justifyMode": "auto",
    "wideLayout": True,
    "showPercentChange": False,
    "reduceOptions": {"calcs": ["lastNotNull"], "values": False, "fields": ""},
    "percentChangeColorMode": "standard",
    "orientation": "auto",
}


def _heatmap(unit: str) -> Json:
    return {
        "calculate": False,
        "color": {
            "mode": "scheme",
            "scheme": "Oranges",
            "fill": "dark-orange",
            "scale": "exponential",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
        },
        "filterValues": {"le": 1e-9},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "cellGap": 1,
        "yAxis": {"unit": unit, "axisPlacement": "left", "reverse": False},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
    }


def _variable(variable: Variable) -> Json:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": DATASOURCE,
        "query": {"query": variable.values, "refId": f"Variable-{variable.name}"},
        "refresh": 2,  # whenever the time range changes
        "sort": 2,  # newest name first
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "regex": "",
        "hide": 0,
        "skipUrlSync": False,
    }


def _datasource() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "current": {},
        "options": [],
        "regex": "",
        "multi": False,
        "includeAll": False,
        "refresh": 1,
        "hide": 0,
        "skipUrlSync": False,
    }


def _annotation(annotation: Annotation) -> Json:
    """Stretches of `step` that touch become one."""
    return {
        "name": annotation.name,
        "enable": True,
        "hide": False,
        "iconColor": "blue",
        "datasource": DATASOURCE,
        "expr": annotation.expr,
        "step": "5s",
        "titleFormat": annotation.title,
        "textFormat": annotation.text,
        "tagKeys": "",
        "useValueForTime": False,
    }


def _window() -> Json:
    """$window: how much wall time a rate or quantile looks back. Few turns a minute need more."""
    choices = ("15s", "30s", "1m", "2m", "5m", "15m", "1h")
    return {
        "type": "interval",
        "name": "window",
        "label": "Window",
        "query": ",".join(choices),
        "options": [
            {"text": choice, "value": choice, "selected": choice == DEFAULT_WINDOW}
            for choice in choices
        ],
        "current": {"text": DEFAULT_WINDOW, "value": DEFAULT_WINDOW, "selected": True},
        "refresh": 2,
        "auto": False,
        "auto_count": 30,
        "auto_min": "10s",
        "hide": 0,
        "skipUrlSync": False,
    }


def _links() -> Json:
    """From each dashboard to the others, with its time range and choices."""
    return {
        "type": "dashboards",
        "title": "tokenswarm",
        "tags": ["tokenswarm"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
