"""Dashboard: what developers feel while traffic ramps."""

from __future__ import annotations

from exporters.grafana.now import CHOICES, NOW, SLO_TTFT_S
from exporters.grafana.panels import Dashboard, Panel, Query, Row
from exporters.grafana.promql import (
    IDEAL_HIT_SHARE,
    REPORTED_HIT_SHARE,
    RUN,
    increase,
    mean,
    or_zero,
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
            "call. Turns that did not fail. The red line is the objective, 1 s.",
            queries=quantiles("tokenswarm_ttft_seconds", 0.5, 0.9, 0.99),
            unit="s",
            limit=SLO_TTFT_S,
            logarithmic=True,
            span=12,
        ),
        Panel(
            title="TTFT, all turns",
            description="How many turns had which TTFT, scrape by scrape.",
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
                Query(expr=f"sum(tokenswarm_target_tpm{{{RUN}}})", legend="target"),
                Query(expr=tpm("tokenswarm_offered_prompt_tokens_total"), legend="offered"),
                Query(expr=tpm("tokenswarm_answered_prompt_tokens_total"), legend="achieved"),
                Query(expr=tpm("tokenswarm_cached_prompt_tokens_total"), legend="cached"),
            ),
            unit="short",
            span=12,
        ),
        Panel(
            title="TPS per user",
            description="How fast one developer's answer streams after its first chunk, tokens per "
            "second of the run's clock. p10: nine of ten answers are faster.",
            queries=quantiles("tokenswarm_decode_tokens_per_second", 0.5, 0.1),
            unit="short",
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
                Query(expr=f"sum(tokenswarm_open_sessions{{{RUN}}})", legend="open sessions"),
                Query(expr=f"sum(tokenswarm_in_flight_turns{{{RUN}}})", legend="turns in flight"),
                Query(
                    expr=or_zero(f"sum(tokenswarm_waiting_tickets{{{RUN}}})"),
                    legend="waiting tickets",
                ),
                Query(
                    expr=or_zero(f"sum(tokenswarm_target_developers{{{RUN}}})"),
                    legend="developers asked for",
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
                    expr=increase("tokenswarm_turns_total", by="outcome"),
                    legend="{{outcome}}",
                ),
            ),
            unit="short",
            stacked=True,
            span=8,
        ),
        Panel(
            title="Failures",
            description="In each window, by kind; README lists the kinds. `none` is always 0: it "
            "shows that the panel works.",
            queries=(
                Query(
                    expr=increase("tokenswarm_failures_total", by="failure")
                    + ' or label_replace(vector(0), "failure", "none", "", "")',
                    legend="{{failure}}",
                ),
            ),
            unit="short",
            stacked=True,
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
                    legend="hit",
                ),
                Query(
                    expr=IDEAL_HIT_SHARE,
                    legend="ideal",
                ),
            ),
            unit="percentunit",
            at_most=1,
            span=8,
        ),
        Panel(
            title="TTFT p50 by kind of turn",
            description="What triggered the turn: a session's start, a tool's result, the user, a "
            "compaction. A start finds little in the cache.",
            queries=(
                Query(expr=quantile(0.5, "tokenswarm_ttft_seconds", by="kind"), legend="{{kind}}"),
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
                Query(expr=mean("tokenswarm_turn_prompt_tokens"), legend="prompt"),
                Query(
                    expr=f"max(tokenswarm_profile_mean_prompt_tokens{{{RUN}}})",
                    legend="prompt, profile",
                ),
                Query(expr=mean("tokenswarm_turn_output_tokens"), legend="output"),
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
    rows=(NOW, _TTFT, _THROUGHPUT, _DEVELOPERS, _DETAIL),
)
