"""PromQL of the dashboards.

Series are those of docs/metrics.md. Rates are per wall second in Prometheus, results are in the
run's seconds: token rates are divided by `tokenswarm_speed`, quantiles need no such factor.

Nothing of anybody's Prometheus is written out: jobs, runs, targets and engines are variables, and
figures of two targets or two engines are two lines. Where nothing was measured an expression has
no data; none falls back to 0.
"""

from __future__ import annotations

from exporters.grafana.panels import Query

CHOSEN = 'job=~"$job",run=~"$run",target=~"$target",profile=~"$profile"'
# All turns of the run, once: a worker's page holds its own turns, which are the master's too.
RUN = f'role="run",{CHOSEN}'
# The processes that send: each worker, or the only process.
SENDERS = f'process!="master",{CHOSEN}'
PROCESS = "process, target"
# The engines' own pages.
ENGINE = 'job=~"$engine_job",instance=~"$engine"'
INSTANCE = "instance"


def rate(counter: str, where: str = RUN, by: str = "target") -> str:
    """Per wall second over the window chosen at the top of the page."""
    return f"sum by ({by}) (rate({counter}{{{where}}}[$window]))"


def increase(counter: str, by: str, where: str = RUN) -> str:
    """In each window."""
    return f"sum by ({by}) (increase({counter}{{{where}}}[$window]))"


def quantile(q: float, histogram: str, where: str = RUN, by: str = "target") -> str:
    buckets = f"sum by (le, {by}) (rate({histogram}_bucket{{{where}}}[$window]))"
    return f"histogram_quantile({q:g}, {buckets})"


def quantiles(histogram: str, *qs: float) -> tuple[Query, ...]:
    return tuple(
        Query(expr=quantile(q, histogram), legend=f"p{q * 100:g} {{{{target}}}}") for q in qs
    )


def gauge(name: str, where: str = RUN, by: str = "target") -> str:
    return f"sum by ({by}) ({name}{{{where}}})"


def tpm(counter: str, where: str = RUN, by: str = "target") -> str:
    """Tokens per minute of the run's clock."""
    return f"sum by ({by}) (rate({counter}{{{where}}}[$window]) * 60 / tokenswarm_speed{{{where}}})"


def share(part: str, whole: str, where: str = RUN, by: str = "target") -> str:
    """No data while there is no whole."""
    return f"{rate(part, where, by)} / ({rate(whole, where, by)} > 0)"


def mean(histogram: str) -> str:
    return share(f"{histogram}_sum", f"{histogram}_count")


def first_of(*expressions: str) -> str:
    """Whichever has data, for each label set: engines name the same thing differently."""
    return " or ".join(expressions)


def of_run(name: str, where: str = "") -> str:
    """A series that a process has from its start on, while it is in one of the runs chosen."""
    selector = f'job=~"$job",{where}' if where else 'job=~"$job"'
    return f"{name}{{{selector}}} and on (job, instance, process) tokenswarm_run_info{{{CHOSEN}}}"


def objective(metric: str, percent: int | None = None) -> str:
    """Thresholds of --slo for a metric: no data where none was asked for."""
    which = "" if percent is None else f',percent="{percent}"'
    return f'max by (objective) (tokenswarm_objective{{{RUN},metric="{metric}"{which}}})'


REPORTED_HIT_SHARE = share(
    "tokenswarm_cached_prompt_tokens_total", "tokenswarm_cache_reported_prompt_tokens_total"
)
IDEAL_HIT_SHARE = share(
    "tokenswarm_ideal_cached_prompt_tokens_total", "tokenswarm_planned_prompt_tokens_total"
)
