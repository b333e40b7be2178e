"""What stands at the top: whose numbers these are, and how it goes right now."""

from __future__ import annotations

from exporters.grafana.panels import Panel, Query, Row, Variable
from exporters.grafana.promql import RUN, or_zero, quantile, rate, tpm

SLO_TTFT_S = 1.0  # as in deploy/prometheus/rules.yml

CHOICES = (
    Variable(name="target", label="Target", values="label_values(tokenswarm_speed, target)"),
    Variable(name="profile", label="Profile", values="label_values(tokenswarm_speed, profile)"),
)

SIMULATED = Panel(
    title="Endpoint",
    description="Whether the endpoint under test is the embedded engine. Then every number on "
    "these dashboards is simulated and in engine seconds.",
    kind="stat",
    queries=(
        Query(
            expr=f'max(tokenswarm_speed{{{RUN},simulated="true"}} * 0 + 1) '
            f'or max(tokenswarm_speed{{{RUN},simulated="false"}} * 0)',
            legend="",
        ),
    ),
    unit="none",
    span=4,
    texts=((1, "SIMULATED", "orange"), (0, "real endpoint", "green")),
)

NOW = Row(
    title="Now",
    height=4,
    panels=(
        SIMULATED,
        Panel(
            title="Run",
            description="Name of the run: its folder under --runs.",
            kind="stat",
            shows="name",
            queries=(Query(expr=f"max by (run) (tokenswarm_run_info{{{RUN}}})", legend="{{run}}"),),
            unit="none",
            span=6,
        ),
        Panel(
            title="Speed",
            description="Engine seconds per wall second: 1 for every endpoint but the embedded "
            "engine. All times and rates of these dashboards are in the run's seconds.",
            kind="stat",
            queries=(Query(expr=f"max(tokenswarm_speed{{{RUN}}})", legend=""),),
            unit="none",
            span=2,
        ),
        Panel(
            title="TTFT p50",
            description="Median time from the first byte sent to the first output. Red above 1 s.",
            kind="stat",
            queries=(Query(expr=quantile(0.5, "tokenswarm_ttft_seconds"), legend=""),),
            unit="s",
            limit=SLO_TTFT_S,
            span=4,
        ),
        Panel(
            title="Achieved TPM",
            description="Prompt tokens of the turns answered, per minute of the run's clock.",
            kind="stat",
            queries=(Query(expr=tpm("tokenswarm_answered_prompt_tokens_total"), legend=""),),
            unit="short",
            span=4,
        ),
        Panel(
            title="Failed turns",
            description="Share of the turns ended in the window that failed. Red above 1%.",
            kind="stat",
            queries=(
                Query(
                    expr=or_zero(
                        f"({or_zero(rate('tokenswarm_failures_total'))}) / "
                        f"({rate('tokenswarm_turns_total')} > 0)"
                    ),
                    legend="",
                ),
            ),
            unit="percentunit",
            limit=0.01,
            span=4,
        ),
    ),
)
