"""The end of a run: tables in the terminal, summary.json beside the ledger."""

from __future__ import annotations

from contextlib import closing

import numpy as np
from tabulate import tabulate

from locustfiles._preflight import EndpointError, simulation
from locustfiles._run import Run
from measure.ledger import Ledger, read_run
from report.steps import Step, steps, whole_run
from report.summary import write_summary
from report.table import table
from workload import fidelity
from workload.profile import Profile

# Achieved over offered TPM; the difference of a few turns at a window's edges is within it (guess).
KEPT_UP_SHARE = 0.95

# Engine seconds: 5 ms of wall time at speed 20. ENGINE.md 7 asks for about 5% of p50 TTFT, and near
# saturation that is 1 to 2 s.
MAX_ENGINE_LATENESS_S = 0.1


def show(run: Run) -> None:
    """Prints what the run's ledgers say and writes the summary."""
    ledger = read_run(run.folder)
    if not ledger.records:
        print(f"tokenswarm: no turn was finished; ledger in {run.folder}")
        return
    levels, whole = steps(ledger), whole_run(ledger)
    print(f"\n{table(ledger, levels, whole)}\n\n{_workload_table(run.profile, ledger, levels)}")
    if run.terms.target.simulated:
        print(f"\n{_engine_lateness(run)}")
    write_summary(run.folder / "summary.json", ledger, levels, whole)
    print(f"\nledger and summary: {run.folder}   again: python -m report {run.folder}")


def _engine_lateness(run: Run) -> str:
    """Whether the compressed clock could be kept: a token handed out late is late S times over."""
    try:
        with closing(run.client()) as client:
            info = simulation(client, run.options)
    except EndpointError as error:
        return f"Engine lateness: unknown ({error})"
    late_s, cold_s = info.get("lateness_p99_s"), info.get("arrival_lateness_p99_s")
    if late_s is None:
        return "Engine lateness: unknown"
    late_engine_s = late_s * run.terms.speed
    text = (
        f"Engine lateness p99: {_ms(late_s)} of wall time, {late_engine_s:.2f} engine s (limit "
        f"{MAX_ENGINE_LATENESS_S}); of arrivals with much new text: {_ms(cold_s)}."
    )
    if late_engine_s > MAX_ENGINE_LATENESS_S:
        text += " INVALID: lower the engine's --speed, or quieten the machine."
    return text


def _workload_table(profile: Profile, ledger: Ledger, levels: list[Step]) -> str:
    """What was really sent, against what the profile promises, after the warm-ups of the levels
    that the endpoint kept up with. (In a warm-up sessions are met in mid-work, with a prompt that
    no cache holds; under overload new sessions crowd in, with short prompts.)"""
    windows = [step.window for step in _kept_up(levels)]
    sent = [
        r
        for r in ledger.records
        if r.sent_at_s is not None  # nor one of the tickets that nobody took
        and ".a" not in r.session
        and any(start_s <= r.scheduled_at_s < end_s for start_s, end_s in windows)
    ]
    rows = fidelity.of_turns(
        profile,
        np.array([r.planned_prompt_tokens for r in sent]),
        np.array([r.planned_output_tokens for r in sent]),
        np.array([r.ideal_cached_tokens for r in sent]),
        kinds=[r.kind for r in sent],
    )
    lines = [
        (
            row.quantity,
            _number(row.target),
            "-" if row.realised is None else _number(row.realised),
            "-" if row.deviation is None else f"{row.deviation:+.1%}",
            "-" if row.tolerance is None else f"{row.tolerance:.1%}",
            row.verdict,
        )
        for row in rows
    ]
    heads = ("workload (levels kept up with)", "target", "sent", "deviation", "tolerance", "")
    return tabulate(lines, heads, colalign=("left", *["right"] * 4, "left"), disable_numparse=True)


def _ms(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds * 1e3:.1f} ms"


def _kept_up(levels: list[Step]) -> list[Step]:
    """The levels that answered what was offered; all of them where none did."""
    return [
        step
        for step in levels
        if (step.summary.achieved_tpm or 0) >= KEPT_UP_SHARE * (step.summary.offered_tpm or 0)
    ] or levels


def _number(value: float) -> str:
    return f"{value:,.3g}" if value < 10 else f"{value:,.0f}"
