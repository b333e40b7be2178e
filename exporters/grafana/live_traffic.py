"""Dashboard: what developers feel while traffic ramps."""

from __future__ import annotations

from exporters.grafana.now import CHOICES, LEVELS, NOW
from exporters.grafana.panels import (
    TPM_UNIT,
    TPS_UNIT,
    Dashboard,
    Objective,
    Panel,
    Query,
    Row,
)
from exporters.grafana.promql import (
    IDEAL_HIT_SHARE,
    REPORTED_HIT_SHARE,
    RUN,
    gauge,
    increase,
    mean,
    objective,
    quantile,
    quantiles,
    tpm,
)

_TTFT = Row(
    title="Time to first token",
    height=9,
    panels=(
        Panel(
            title="TTFT",
            description="From the first byte sent to the first output: text, reasoning or a tool "
            "call. Turns that did not fail. Dashed: the objectives of the run (--slo).",
            queries=quantiles("tokenswarm_ttft_seconds", 0.5, 0.9, 0.99),
            unit="s",
            objective=Objective(expr=objective("ttft")),
            logarithmic=True,
            span=12,
        ),
        Panel(
            title="TTFT, all turns",
            description="How many turns had which TTFT, scrape by scrape; of all targets chosen.",
            kind="heatmap",
            queries=(
                Query(
                    expr="sum by (le) (increase("
                    f"tokenswarm_ttft_seconds_bucket{{{RUN}}}[$__rate_interval]))",
                    legend="{{le}}",
                ),
            ),
            unit="s",
            span=12,
        ),
    ),
)

_THROUGHPUT = Row(
    title="Throughput",
    height=9,
    panels=(
        Panel(
            title="Input tokens per minute",
            description="Target: the rate asked for (open mode). Offered: of turns sent and "
            "tickets given up. Achieved: of turns answered; below offered for long, the engine is "
            "saturated. Cached: of the achieved ones, what the server says it had in its cache.",
            queries=(
                Query(expr=gauge("tokenswarm_target_tpm"), legend="target {{target}}"),
                Query(
                    expr=tpm("tokenswarm_offered_prompt_tokens_total"), legend="offered {{target}}"
                ),
                Query(
                    expr=tpm("tokenswarm_answered_prompt_tokens_total"),
                    legend="achieved {{target}}",
                ),
                Query(
                    expr=tpm("tokenswarm_cached_prompt_tokens_total"), legend="cached {{target}}"
                ),
            ),
            unit=TPM_UNIT,
            objective=Objective(expr=objective("tpm")),
            span=12,
        ),
        Panel(
            title="TPS per user",
            description="How fast one developer's answer streams after its first chunk, tokens per "
            "second of the run's clock. p10: nine of ten answers are faster.",
            queries=quantiles("tokenswarm_decode_tokens_per_second", 0.5, 0.1),
            unit=TPS_UNIT,
            objective=Objective(expr=objective("tps")),
            span=12,
        ),
    ),
)

_DEVELOPERS = Row(
    title="Developers and turns",
    panels=(
        Panel(
            title="Developers",
            description="Open sessions, turns under way, tickets that are due and that no "
            "developer has taken (open mode), and the developers asked for (closed mode).",
            queries=(
                Query(expr=gauge("tokenswarm_open_sessions"), legend="open sessions {{target}}"),
                Query(
                    expr=gauge("tokenswarm_in_flight_turns"), legend="turns in flight {{target}}"
                ),
                Query(
                    expr=gauge("tokenswarm_waiting_tickets"), legend="waiting tickets {{target}}"
                ),
                Query(expr=gauge("tokenswarm_told_to_wait"), legend="told to wait {{target}}"),
                Query(
                    expr=gauge("tokenswarm_target_developers"),
                    legend="developers asked for {{target}}",
                ),
            ),
            unit="short",
            span=8,
        ),
        Panel(
            title="Turns ended",
            description="In each window, by outcome. Cancelled: hung up as planned. Unfinished: "
            "cut off by the end of the run.",
            queries=(
                Query(
                    expr=increase("tokenswarm_turns_total", by="outcome, target"),
                    legend="{{outcome}} {{target}}",
                ),
            ),
            unit="short",
            stacked=True,
            span=8,
        ),
        Panel(
            title="Failures",
            description="In each window: all, and by kind those that occurred (docs/options.md "
            "lists the kinds). All is 0 while turns are watched and none fails.",
            queries=(
                Query(
                    expr=increase("tokenswarm_failures_total", by="target"), legend="all {{target}}"
                ),
                Query(
                    expr=increase("tokenswarm_failures_total", by="failure, target") + " > 0",
                    legend="{{failure}} {{target}}",
                ),
            ),
            unit="short",
            span=8,
        ),
    ),
)

_DETAIL = Row(
    title="What moves it",
    panels=(
        Panel(
            title="Prefix cache hits",
            description="Share of prompt tokens that the server says it took from its cache, and "
            "the share that an endless cache would have held. A gap: the cache is too small, or "
            "routing sends a session elsewhere.",
            queries=(
                Query(
                    expr=REPORTED_HIT_SHARE,
                    legend="hit {{target}}",
                ),
                Query(
                    expr=IDEAL_HIT_SHARE,
                    legend="ideal {{target}}",
                ),
            ),
            unit="percentunit",
            objective=Objective(expr=objective("hit_share")),
            at_most=1,
            span=8,
        ),
        Panel(
            title="TTFT p50 by kind of turn",
            description="What triggered the turn: a session's start, a tool's result, the user, a "
            "compaction. A start finds little in the cache.",
            queries=(
                Query(
                    expr=quantile(0.5, "tokenswarm_ttft_seconds", by="kind, target"),
                    legend="{{kind}} {{target}}",
                ),
            ),
            unit="s",
            logarithmic=True,
            span=8,
        ),
        Panel(
            title="Tokens per turn",
            description="Mean prompt of the turns sent, against the profile's mean, and mean "
            "output of the turns answered.",
            queries=(
                Query(expr=mean("tokenswarm_turn_prompt_tokens"), legend="prompt {{target}}"),
                Query(
                    expr=f"max by (profile) (tokenswarm_profile_mean_prompt_tokens{{{RUN}}})",
                    legend="prompt of profile {{profile}}",
                ),
                Query(expr=mean("tokenswarm_turn_output_tokens"), legend="output {{target}}"),
            ),
            unit="short",
            logarithmic=True,
            span=8,
        ),
    ),
)

LIVE = Dashboard(
    uid="tokenswarm-live",
    title="tokenswarm: live traffic",
    description="What developers feel while traffic ramps: TTFT, TPS per user, input TPM.",
    variables=CHOICES,
    annotations=(LEVELS,),
    rows=(NOW, _TTFT, _THROUGHPUT, _DEVELOPERS, _DETAIL),
)
