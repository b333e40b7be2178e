"""Routing: replicas beside each other, and what moving between them cost, in words."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill

from tokenswarm.measure.routing import Replica, Routing
from tokenswarm.report.notation import share_text
from tokenswarm.report.text.levels import WIDTH
from tokenswarm.report.text.table import Cell, Column, Table, plain

COLUMNS = (
    Column("name", "replica", words=True),
    Column("turns", "turns"),
    Column("prompt_tokens", "prompt tokens"),
    Column("hit_share", "cache hits"),
)


def table(found: Routing | None) -> Table:
    """What each replica served."""
    replicas = found.replicas if found is not None else ()
    return Table("routing", "Replicas", COLUMNS, tuple(map(_cells, replicas)))


def text(found: Routing) -> str:
    """As a table, what is to be said below."""
    replicas = table(found)
    body = [plain(replicas.named("replica (whole run)")), ""] if replicas.rows else []
    return "\n".join([*body, *(fill(line, WIDTH) for line in sentences(found))])


def _cells(replica: Replica) -> tuple[Cell, ...]:
    return (
        Cell(replica.name, replica.name),
        Cell(f"{replica.turns:,}", replica.turns),
        Cell(f"{replica.prompt_tokens:,.0f}", replica.prompt_tokens),
        Cell(share_text(replica.hit_share), replica.hit_share),
    )


def sentences(found: Routing) -> Iterator[str]:
    """What is known, and from what."""
    if found.cold_share is not None:
        known = found.cold_moved is not None
        met = "a cold replica" if known else "a cache without their session"
        held = "that another replica held" if known else "that had been sent before"
        yield (
            f"{found.cold_share:.0%} of {found.continuing:,} turns that continue a session met "
            f"{met}; {found.refilled_tokens:,} tokens were prefilled again {held}, "
            f"{found.refilled_tokens / found.prompt_tokens:.1%} of all prompt tokens "
            f"(from {'X-Replica' if known else 'cached tokens alone'})."
        )
    if found.sessions_moved is not None:
        yield (
            f"{found.sessions_moved:,} of {found.sessions:,} sessions with several turns moved "
            f"between replicas, {found.moved:,} turns of theirs continuing what another one held."
        )
    else:
        yield (
            "Answers do not say X-Replica: a session that was evicted looks like one that was sent "
            "elsewhere."
        )
    if (policy := found.policy) is not None:
        first, second = policy.likeliest[:2]
        ahead = f"{policy.bits_ahead:,.0f} bits, over {policy.turns:,} turns"
        if policy.policy is None:
            yield f"By whom replicas are chosen is open: {first} or {second} ({ahead})."
        else:
            yield f"Of five policies the choices look most like {first}, then {second} ({ahead})."
