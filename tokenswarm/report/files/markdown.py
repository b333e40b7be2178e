"""Markdown: a run in a comment on a pull request."""

from __future__ import annotations

from html import escape

from tokenswarm.measure.verdict import Check
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.text import failures, headline, routing
from tokenswarm.report.text import jobs as jobs_text
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.table import markdown
from tokenswarm.report.text.tables import levels, objectives

# Of the levels: what fits into a comment.
KEYS = (
    "level",
    "asked",
    "achieved_tpm",
    "turns",
    "failed",
    "ttft_p50_s",
    "ttft_p99_s",
    "decode_tps_p50",
    "goodput",
    "hit_share",
)


def summary(found: Result, against: str = "") -> str:
    """Headline, verdict with reasons, levels and objectives; against: a baseline, as text."""
    header = found.ledger.header
    parts = [f"### {_plain(headline.headline(found))}"]
    if header.target.simulated:
        parts.append("**SIMULATED** by the embedded engine, no measurement of a product.")
    parts += [_plain(sentence) for sentence in headline.details(found)]
    parts.append(f"**Verdict: {verdict_text.headline(found.verdict)}**")
    if found.verdict.reasons:
        parts.append("\n".join(map(_reason, found.verdict.reasons)))
    narrow = levels(found).picked("levels", "Levels", KEYS)
    parts += [
        markdown(table)
        for table in (
            narrow,
            objectives(found),
            jobs_text.jobs(found),
            routing.table(found.routing),
        )
        if table.rows
    ]
    parts += map(_plain, jobs_text.sentences(found))
    if found.routing is not None:
        parts += map(_plain, routing.sentences(found.routing))
    if found.whole.failed:
        parts.append("Failures, with what was said:")
        parts.append("\n".join(f"* {_plain(line)}" for line in failures.lines(found)))
    if against:
        parts.append("\n".join(f"* {_plain(line)}" for line in against.splitlines()))
    parts.append(
        f"Times in seconds, 95% intervals in brackets, `*` too few turns to claim it. Run "
        f"`{_plain(header.run).replace('`', '')}`, profile {_plain(header.fingerprint.profile)}, "
        f"seed {header.fingerprint.seed}."
    )
    return "\n\n".join(parts) + "\n"


def _reason(check: Check) -> str:
    return f"* **{check.grade}** {_plain(verdict_text.sentence(check))}"


def _plain(text: str) -> str:
    """A server's or a person's text: one line, and no markup of its own."""
    return escape(" ".join(text.split()), quote=False)
