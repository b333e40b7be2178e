"""What stands at the top: whose numbers these are, and how it goes right now."""

from __future__ import annotations

from exporters.grafana.panels import TPM_UNIT, Annotation, Objective, Panel, Query, Row, Variable
from exporters.grafana.promql import RUN, objective, quantile, share, tpm

CHOICES = (
    Variable(name="job", label="Job", values="label_values(tokenswarm_build_info, job)"),
    Variable(name="run", label="Run", values='label_values(tokenswarm_run_info{job=~"$job"}, run)'),
    Variable(
        name="target",
        label="Target",
        values='label_values(tokenswarm_speed{job=~"$job",run=~"$run"}, target)',
    ),
    Variable(
        name="profile",
        label="Profile",
        values='label_values(tokenswarm_speed{job=~"$job",run=~"$run"}, profile)',
    ),
)

# One series that each engine shows from its start on, so that it can be chosen.
_ENGINES = '__name__=~"' + "|".join(
    (
        "vllm:num_requests_running",
        "sglang:num_running_reqs",
        "trtllm[_:]num_requests_running",
        "trtllm[_:]request_success_total",
        "llamacpp:requests_processing",
        "dynamo_frontend_inflight_requests",
    )
)
ENGINE_CHOICES = (
    Variable(name="engine_job", label="Engine's job", values=f'label_values({{{_ENGINES}"}}, job)'),
    Variable(
        name="engine",
        label="Engine",
        values=f'label_values({{{_ENGINES}",job=~"$engine_job"}}, instance)',
    ),
)

LEVELS = Annotation(
    name="Levels",
    expr=f"max by (run, target, level, asked) (tokenswarm_level_info{{{RUN}}})",
    title="level {{level}}: {{asked}}",
    text="{{run}}, {{target}}",
)

TTFT_P50 = Objective(expr=objective("ttft", 50))

SIMULATED = Panel(
    title="Endpoint",
    description="Whether the endpoint under test is the embedded engine. Then every number on "
    "these dashboards is simulated and in engine seconds.",
    kind="stat",
    queries=(
        Query(
            expr=f'max by (target) (tokenswarm_speed{{{RUN},simulated="true"}} * 0 + 1) '
            f'or max by (target) (tokenswarm_speed{{{RUN},simulated="false"}} * 0)',
            legend="{{target}}",
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
            queries=(
                Query(
                    expr=f"max by (target) (tokenswarm_speed{{{RUN}}})",
                    legend="{{target}}",
                ),
            ),
            unit="none",
            span=2,
        ),
        Panel(
            title="TTFT p50",
            description="Median time from the first byte sent to the first output. Green or red "
            "by the run's own objective (--slo 'ttft_p50<1s'), blue without one.",
            kind="stat",
            queries=(Query(expr=quantile(0.5, "tokenswarm_ttft_seconds"), legend="{{target}}"),),
            unit="s",
            objective=TTFT_P50,
            span=4,
        ),
        Panel(
            title="Achieved TPM",
            description="Prompt tokens of the turns answered, per minute of the run's clock.",
            kind="stat",
            queries=(
                Query(expr=tpm("tokenswarm_answered_prompt_tokens_total"), legend="{{target}}"),
            ),
            unit=TPM_UNIT,
            span=4,
        ),
        Panel(
            title="Failed turns",
            description="Share of the turns ended in the window that failed. No data while no turn "
            "ends. Green or red by the run's own objective (--slo 'failures<0.5%'), blue without "
            "one.",
            kind="stat",
            queries=(
                Query(
                    expr=share("tokenswarm_failures_total", "tokenswarm_turns_total"),
                    legend="{{target}}",
                ),
            ),
            unit="percentunit",
            objective=Objective(expr=objective("failures")),
            span=4,
        ),
    ),
)
