"""Dashboard: whether the load generator itself may be believed."""

from __future__ import annotations

from exporters.grafana.now import CHOICES, ENGINE_CHOICES, LEVELS, SIMULATED
from exporters.grafana.panels import TPM_UNIT, Dashboard, Panel, Query, Row
from exporters.grafana.promql import (
    ENGINE,
    PROCESS,
    RUN,
    SENDERS,
    mean,
    of_run,
    quantile,
    rate,
    share,
    tpm,
)

SENDING = 'state=~"spawning|running"'
KERNEL = f'{RUN},stamps="kernel"'


def _count(title: str, description: str, expr: str, span: int, limit: float | None) -> Panel:
    return Panel(
        title=title,
        description=description,
        kind="stat",
        queries=(Query(expr=expr, legend=""),),
        unit="none",
        span=span,
        limit=limit,
    )


_LOSSES = Row(
    title="Anything lost?",
    height=4,
    panels=(
        SIMULATED,
        _count(
            "Workers running",
            "Connected to the master and sending. No data where one process does it all.",
            f"sum({of_run('tokenswarm_workers', SENDING)})",
            4,
            None,
        ),
        _count(
            "Workers lost",
            "Workers of the run whose heartbeats stopped or that left. Their sessions are gone.",
            f"sum({of_run('tokenswarm_workers_lost_total')})",
            4,
            1,
        ),
        _count(
            "Records lost",
            "Turns that a worker has sent and the master has not got, or refused because they are "
            "of a run before its time. The worker's own ledger has them.",
            f"sum(tokenswarm_records_lost_total{{{RUN}}}) + "
            f"sum({of_run('tokenswarm_records_refused_total')})",
            4,
            1,
        ),
        _count(
            "Out of sight",
            "Workers without a metrics page, because no port was free. Their turns are in the run.",
            f"sum({of_run('tokenswarm_workers_without_metrics')})",
            4,
            1,
        ),
        _count(
            "Failed pushes",
            "To the Pushgateway. No data where none is used.",
            f"sum({of_run('tokenswarm_push_failures_total')})",
            4,
            1,
        ),
    ),
)

_PUNCTUALITY = Row(
    title="Punctuality",
    panels=(
        Panel(
            title="Lateness p99",
            description="From when a turn was due to its first byte, by process. Above a fraction "
            "of a second all developers are busy, or the generator is late.",
            queries=(
                Query(
                    expr=quantile(0.99, "tokenswarm_lateness_seconds", SENDERS, by=PROCESS),
                    legend="{{process}} {{target}}",
                ),
            ),
            unit="s",
            span=6,
        ),
        Panel(
            title="Generator lateness p99",
            description="The part of it that no developer's being busy explains, by process. Red "
            "above 0.25 s: the figures are suspect.",
            queries=(
                Query(
                    expr=quantile(
                        0.99, "tokenswarm_generator_lateness_seconds", SENDERS, by=PROCESS
                    ),
                    legend="{{process}} {{target}}",
                ),
            ),
            unit="s",
            limit=0.25,
            span=6,
        ),
        Panel(
            title="TTFT from schedule",
            description="p50 from when the turn was due, beside p50 from when it was sent. A gap "
            "is waiting that plain TTFT hides (coordinated omission).",
            queries=(
                Query(
                    expr=quantile(0.5, "tokenswarm_ttft_from_schedule_seconds"),
                    legend="from schedule {{target}}",
                ),
                Query(expr=quantile(0.5, "tokenswarm_ttft_seconds"), legend="from sent {{target}}"),
            ),
            unit="s",
            span=6,
        ),
        Panel(
            title="Embedded engine's own lateness, p99",
            description="Of the simulation, wall seconds: above 5 ms at speed 20 the run is "
            "INVALID. No data with a real endpoint.",
            queries=(
                Query(
                    expr=f"max by (instance) (sim:step_lateness_p99_seconds{{{ENGINE}}})",
                    legend="steps {{instance}}",
                ),
                Query(
                    expr=f"max by (instance) (sim:arrival_lateness_p99_seconds{{{ENGINE}}})",
                    legend="arrivals {{instance}}",
                ),
            ),
            unit="s",
            span=6,
        ),
    ),
)

_PROCESSES = Row(
    title="Processes",
    panels=(
        Panel(
            title="Hub lag",
            description="How late a greenlet that was due got its turn, wall seconds of the last "
            "10 s. Kernel stamps keep it out of TTFT; it delays sending.",
            queries=(
                Query(
                    expr=of_run("tokenswarm_hub_lag_p99_seconds"),
                    legend="p99 {{process}} {{instance}}",
                ),
                Query(
                    expr=of_run("tokenswarm_hub_lag_max_seconds"),
                    legend="max {{process}} {{instance}}",
                ),
            ),
            unit="s",
            limit=0.5,
            span=8,
        ),
        Panel(
            title="CPU",
            description="Cores used over the last 10 s. A process is one core: near 1 it is full. "
            "Start more workers.",
            queries=(
                Query(
                    expr=of_run("tokenswarm_cpu_ratio"),
                    legend="{{process}} {{instance}}",
                ),
            ),
            unit="percentunit",
            limit=0.9,
            span=8,
        ),
        Panel(
            title="Memory",
            description="Resident memory.",
            queries=(
                Query(
                    expr=of_run("tokenswarm_resident_memory_bytes"),
                    legend="{{process}} {{instance}}",
                ),
            ),
            unit="bytes",
            span=8,
        ),
    ),
)

_STAMPS = Row(
    title="Stamps",
    panels=(
        Panel(
            title="Kernel stamp against the clock, p99",
            description="How much later the process read a chunk than the kernel got it: the error "
            "that a tool without kernel stamps would have in its TTFT.",
            queries=(
                Query(
                    expr=quantile(0.99, "tokenswarm_stamp_lag_seconds", SENDERS, by=PROCESS),
                    legend="{{process}} {{target}}",
                ),
            ),
            unit="s",
            span=8,
        ),
        Panel(
            title="Turns with kernel stamps",
            description="The others have the clock after the read.",
            queries=(
                Query(
                    expr=f"{rate('tokenswarm_stamped_turns_total', KERNEL)} / "
                    f"({rate('tokenswarm_stamped_turns_total')} > 0)",
                    legend="kernel {{target}}",
                ),
            ),
            unit="percentunit",
            at_most=1,
            span=8,
        ),
        Panel(
            title="Coalesced reads",
            description="Output chunks that carry the stamp of the one before, "
            "as a share of all: they were read in one go.",
            queries=(
                Query(
                    expr=share(
                        "tokenswarm_coalesced_chunks_total", "tokenswarm_output_chunks_total"
                    ),
                    legend="coalesced {{target}}",
                ),
            ),
            unit="percentunit",
            span=8,
        ),
    ),
)

_FIDELITY = Row(
    title="Is it the traffic that was asked for?",
    panels=(
        Panel(
            title="Token drift",
            description="Prompt tokens as the server counts them against the planned ones, less 1.",
            queries=(
                Query(
                    expr=share(
                        "tokenswarm_answered_prompt_tokens_total",
                        "tokenswarm_planned_prompt_tokens_total",
                    )
                    + " - 1",
                    legend="drift {{target}}",
                ),
            ),
            unit="percentunit",
            below_zero=True,
            span=8,
        ),
        Panel(
            title="Mean prompt against the profile's",
            description="1 is as promised. Sessions begin in mid-work, so it settles within a "
            "session's length.",
            queries=(
                Query(
                    expr=f"{mean('tokenswarm_turn_prompt_tokens')} / "
                    f"max by (target) (tokenswarm_profile_mean_prompt_tokens{{{RUN}}})",
                    legend="sent / profile {{target}}",
                ),
            ),
            unit="percentunit",
            span=8,
        ),
        Panel(
            title="Achieved TPM by process",
            description="How the workers share the load.",
            queries=(
                Query(
                    expr=tpm("tokenswarm_answered_prompt_tokens_total", SENDERS, by=PROCESS),
                    legend="{{process}} {{target}}",
                ),
            ),
            unit=TPM_UNIT,
            stacked=True,
            span=8,
        ),
    ),
)

HEALTH = Dashboard(
    uid="tokenswarm-health",
    title="tokenswarm: generator health",
    description="Whether the load generator itself may be believed.",
    variables=(*CHOICES, *ENGINE_CHOICES),
    annotations=(LEVELS,),
    rows=(_LOSSES, _PUNCTUALITY, _PROCESSES, _STAMPS, _FIDELITY),
)
