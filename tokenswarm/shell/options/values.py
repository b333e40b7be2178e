"""Values: what the options of a run say, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenswarm.client.agent import Agent, Lineage
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.headers import HeaderField
from tokenswarm.client.stream import Timeouts
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.regression import Limit
from workload.replay import Timing

# auto: where the endpoint refuses histories without.
REASONING = ("auto", "on", "off")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsOptions:
    """Where this process shows itself to Prometheus."""

    port: int | None  # None: no page; 0: any free port
    host: str
    targets: Path | None
    pushgateway: str | None
    pushgateway_delete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is asked to do. Rates in input tokens per minute, times in seconds (engine
    seconds against the embedded engine)."""

    endpoint: Endpoint
    target_name: str | None  # as a target file has it
    api: str  # one of client.dialects.DIALECTS
    agent: Agent
    headers: tuple[HeaderField, ...]
    secrets: tuple[str, ...] = field(repr=False)  # in the endpoint's query
    session_headers: tuple[str, ...]
    model: str | None
    profile: str
    trace: Path | None  # instead of the profile
    trace_timing: Timing
    habits: tuple[str, ...]
    seed: int
    tpm: float | None  # None: closed mode, or the ladder's levels
    levels_tpm: tuple[float, ...]
    hold_s: float
    drain_s: float
    quick: bool  # levels, hold and drain are those of arguments.QUICK
    ramp_s: float
    max_developers: int
    arrival_cv: float
    tokenizer: str
    trust_remote_code: bool
    corpus: Path | None
    warm: bool
    extra_body: Mapping[str, Any]
    min_tokens: bool
    output_field: str
    history_reasoning: str  # one of REASONING: whether histories carry the model's reasoning
    max_retry_after_s: float  # wall seconds
    wait_ready_s: float  # wall seconds; 0: an endpoint that is not ready is refused
    timeouts: Timeouts
    verify_tls: bool
    ca_file: str | None
    gpus: int | None
    runs_folder: Path
    run_name: str | None
    metrics: MetricsOptions
    metrics_urls: tuple[str, ...]  # of the server
    gate: GateOptions
    search: SearchOptions

    def identify(self, lineage: Lineage) -> dict[str, str]:
        """The headers that say whose turn it is: the agent's and those of --session-header, of one
        name the latter, where --header says nothing under it."""
        said = [*self.agent.identify(lineage).items()]
        said += [(name, lineage.asker) for name in self.session_headers]
        last = {name.lower(): (name, who) for name, who in said}
        set_by_hand = {header.name.lower() for header in self.headers}
        return dict(each for name, each in last.items() if name not in set_by_hand)

    @property
    def asked_source(self) -> str:
        """The option that says where sessions come from, with its value."""
        return f"--trace {self.trace}" if self.trace else f"--profile {self.profile}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """What a run is judged by at its end."""

    slos: tuple[Slo, ...]
    baseline: Path | None
    limits: tuple[Limit, ...]
    junit: Path | None
    max_failures: float | None  # share of the turns at which the run ends; None: off


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """Where capacity.py looks, in input tokens per minute."""

    lowest_tpm: float
    highest_tpm: float
    tolerance: float  # share of the capacity
