"""Judge: every check there is, put to one run."""

from __future__ import annotations

from tokenswarm.measure.verdict.evidence import Evidence
from tokenswarm.measure.verdict.grades import Verdict
from tokenswarm.measure.verdict.of_generator import (
    coalesced_reads,
    cpu,
    engine_lateness,
    first_token_stamps,
    generator_lateness,
    hub_stalls,
    read_lag,
    workers,
)
from tokenswarm.measure.verdict.of_load import failures, offered_load
from tokenswarm.measure.verdict.of_routing import affinity, balance
from tokenswarm.measure.verdict.of_run import books, censoring, end, samples, steadiness, torn_lines
from tokenswarm.measure.verdict.of_workload import (
    contamination,
    output_length,
    token_drift,
    workload,
)


def judge(evidence: Evidence) -> Verdict:
    """Every check there is, in the order of the docs page."""
    checks = [
        generator_lateness(evidence),
        first_token_stamps(evidence),
        read_lag(evidence),
        coalesced_reads(evidence),
        hub_stalls(evidence),
        cpu(evidence),
        workers(evidence),
        offered_load(evidence),
        failures(evidence),
        token_drift(evidence),
        output_length(evidence),
        workload(evidence),
        contamination(evidence),
        samples(evidence),
        censoring(evidence),
        steadiness(evidence),
        torn_lines(evidence),
        end(evidence),
    ]
    if evidence.ledger.header.target.simulated:
        checks.append(engine_lateness(evidence))
    if evidence.books:
        checks.append(books(evidence))
    if evidence.routing is not None and evidence.routing.replicas:
        checks += [affinity(evidence.routing), balance(evidence.routing)]
    return Verdict(tuple(checks))
