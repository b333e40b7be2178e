"""Grafana dashboards as code: `python -m exporters.grafana` writes the JSON that Grafana loads."""
