"""`python -m exporters.grafana`: writes the dashboards' JSON beside this file."""

from __future__ import annotations

from pathlib import Path

import orjson

from exporters.grafana.dashboards import DASHBOARDS
from exporters.grafana.panels import Dashboard, dashboard_json

FOLDER = Path(__file__).parent / "json"


def text(dashboard: Dashboard) -> bytes:
    return orjson.dumps(
        dashboard_json(dashboard), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    )


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        path = FOLDER / f"{dashboard.uid}.json"
        path.write_bytes(text(dashboard))
        print(path)


if __name__ == "__main__":
    main()
