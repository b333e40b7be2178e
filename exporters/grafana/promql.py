"""PromQL of the dashboards.

Series are those of docs/metrics.md. Rates are per wall second in Prometheus, results are in the
run's seconds: token rates are divided by `tokenswarm_speed`, quantiles need no such factor.
"""

from __future__ import annotations

from exporters.grafana.panels import Query

# All turns of the run, once: a worker's page holds its own turns, which are the master's too.
RUN = 'role="run",target=~"$target",profile=~"$profile"'
# The processes that send: each worker, or the only process.
SENDERS = 'process!="master",target=~"$target",profile=~"$profile"'
ENGINE = 'job="engine"'


def rate(counter: str, where: str = RUN) -> str:
    """Per wall second, of all series together, over the window chosen at the top of the page."""
    return f"sum(rate({counter}{{{where}}}[$window]))"


def increase(counter: str, by: str, where: str = RUN) -> str:
    """In each window."""
    return f"sum by ({by}) (increase({counter}{{{where}}}[$window]))"


def quantile(q: float, histogram: str, where: str = RUN, by: str = "") -> str:
    labels = ", ".join(filter(None, ("le", by)))
    buckets = f"sum by ({labels}) (rate({histogram}_bucket{{{where}}}[$window]))"
    return f"histogram_quantile({q:g}, {buckets})"


def quantiles(histogram: str, *qs: float) -> tuple[Query, ...]:
    return tuple(Query(expr=quantile(q, histogram), legend=f"p{q * 100:g}") for q in qs)


def tpm(counter: str, where: str = RUN, by: str = "") -> str:
    """Tokens per minute of the run's clock."""
    tokens = f"rate({counter}{{{where}}}[$window]) * 60 / tokenswarm_speed{{{where}}}"
    return f"sum by ({by}) ({tokens})" if by else f"sum({tokens})"


def share(part: str, whole: str, where: str = RUN) -> str:
    return f"{rate(part, where)} / {rate(whole, where)}"


def mean(histogram: str) -> str:
    return share(f"{histogram}_sum", f"{histogram}_count")


def first_of(*expressions: str) -> str:
    """Whichever has data: engines name the same thing differently."""
    return " or ".join(expressions)


def or_zero(expression: str) -> str:
    """0 where nothing has happened yet and so no series exists."""
    return f"{expression} or vector(0)"


REPORTED_HIT_SHARE = share(
    "tokenswarm_cached_prompt_tokens_total", "tokenswarm_cache_reported_prompt_tokens_total"
)
IDEAL_HIT_SHARE = share(
    "tokenswarm_ideal_cached_prompt_tokens_total", "tokenswarm_planned_prompt_tokens_total"
)
