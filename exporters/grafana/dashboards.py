"""All dashboards."""

from __future__ import annotations

from exporters.grafana.engine_view import ENGINE_VIEW
from exporters.grafana.generator_health import HEALTH
from exporters.grafana.live_traffic import LIVE

DASHBOARDS = (LIVE, HEALTH, ENGINE_VIEW)
