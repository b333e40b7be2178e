"""Options of the command line, the environment and the web form, turned once into a value."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tokenswarm.client.dialects import DIALECTS, Dialect
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.stream import Timeouts
from tokenswarm.measure.amounts import OptionError as OptionError  # raised here, caught by all
from tokenswarm.measure.amounts import parse_duration, parse_rate, parse_share
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.regression import Limit
from tokenswarm.report.gate import require_baseline
from workload.tokens import EMBEDDED

# Read in this order; never an option, a page, a ledger or a message between processes.
API_KEY_VARIABLES = ("TOKENSWARM_API_KEY", "OPENAI_API_KEY")


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
    api: str  # one of client.dialects.DIALECTS
    model: str | None
    profile: str
    seed: int
    tpm: float | None  # None: closed mode, or the ladder's levels
    levels_tpm: tuple[float, ...]
    hold_s: float
    drain_s: float
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
    timeouts: Timeouts
    verify_tls: bool
    ca_file: str | None
    gpus: int | None
    runs_folder: Path
    run_name: str | None
    metrics: MetricsOptions
    gate: GateOptions
    search: SearchOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """What a run is judged by at its end."""

    slos: tuple[Slo, ...]
    baseline: Path | None
    limits: tuple[Limit, ...]
    junit: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """Where capacity.py looks, in input tokens per minute."""

    lowest_tpm: float
    highest_tpm: float
    tolerance: float  # share of the capacity


@dataclass(frozen=True, slots=True)
class Group:
    """Options that belong together, for help and docs. locustfiles: those that read them, by the
    names of `tokenswarm run`."""

    title: str
    locustfiles: tuple[str, ...]
    options: tuple[str, ...]


ALL = ("agents", "ladder", "capacity")
GROUPS = (
    Group("target", ALL, ("--host", "--api", "--model", "--gpus", "--insecure", "--ca-file")),
    Group("rate", ("agents",), ("--tpm", "--ramp", "--arrival-cv")),
    Group(
        "ladder",
        ("ladder",),
        ("--levels", "--hold", "--ramp", "--drain", "--max-developers", "--arrival-cv"),
    ),
    Group(
        "search",
        ("capacity",),
        (
            *("--search-from", "--search-to", "--tolerance", "--hold", "--ramp", "--drain"),
            *("--max-developers", "--arrival-cv"),
        ),
    ),
    Group(
        "workload",
        ALL,
        (
            *("--profile", "--seed", "--corpus", "--tokenizer", "--trust-remote-code", "--warm"),
            *("--extra-body", "--min-tokens", "--output-field"),
        ),
    ),
    Group("patience", ALL, ("--connect-timeout", "--first-token-timeout", "--stall-timeout")),
    Group("judgement", ALL, ("--slo", "--baseline", "--max-regress", "--junit")),
    Group(
        "results and metrics",
        ALL,
        (
            *("--runs", "--run-name", "--grafana-url", "--metrics-port", "--metrics-host"),
            *("--metrics-targets", "--pushgateway", "--pushgateway-delete"),
        ),
    ),
)


def add_arguments(parser: Any) -> None:
    """Adds tokenswarm's options; each has an environment variable TOKENSWARM_<NAME>."""
    # --profile is Locust's own option, a label for grouping runs: ours is that label's meaning.
    profile = os.environ.get("TOKENSWARM_PROFILE", "seed")
    # Who reaches the web UI may type in a host, and the key goes there. Locust would let everyone.
    parser.set_defaults(profile=profile, stop_timeout="120", web_host="127.0.0.1")

    def add(name: str, *, in_form: bool = True, **settings: Any) -> None:
        """in_form: a start form of the web UI has it. Not what opens files or switches checks off,
        nor what may hold a secret: who may start a run need not be who owns the machine."""
        variable = "TOKENSWARM_" + name.strip("-").upper().replace("-", "_")
        parser.add_argument(name, env_var=variable, include_in_web_ui=in_form, **settings)

    add(
        "--tpm",
        default="",
        metavar="RATE",
        help="Open mode: input tokens per minute to offer, such as 2.5M; empty: closed mode",
    )
    add(
        "--levels",
        default="0.5M,1M,1.5M,2M,2.5M,3M",
        metavar="RATES",
        help="Rates to climb, comma-separated",
    )
    add("--hold", default="8m", metavar="TIME", help="How long each level lasts")
    add(
        "--ramp",
        default="2m",
        metavar="TIME",
        help="Open mode: how long a new rate takes to be reached; within a ladder's level at most "
        "its warm-up",
    )
    add(
        "--drain",
        default="10m",
        metavar="TIME",
        help="How long to wait at the end for turns in flight",
    )
    add(
        "--max-developers",
        type=int,
        default=300,
        metavar="N",
        help="Most sessions open at once",
    )
    add(
        "--arrival-cv",
        type=float,
        default=0.0,
        metavar="CV",
        help="Open mode: spread of the arrivals; 0 paced, 1 Poisson, more bursty",
    )
    _add_gate_arguments(add)
    _add_search_arguments(add)
    add(
        "--api",
        default="chat",
        metavar="NAME",
        help="What the endpoint speaks: chat (completions), messages (Anthropic) or responses",
    )
    add("--model", default="", metavar="NAME", help="Model; empty: the only one the server lists")
    add("--seed", type=int, default=1, metavar="N", help="Same seed, same sessions and prompts")
    add(
        "--tokenizer",
        in_form=False,
        default=EMBEDDED,
        metavar="NAME",
        help="embedded, a tiktoken encoding, a Hugging Face name, or a folder",
    )
    add(
        "--trust-remote-code",
        in_form=False,
        action="store_true",
        default=False,
        help="Let a Hugging Face tokenizer run its own code",
    )
    add(
        "--corpus",
        in_form=False,
        default="",
        metavar="FOLDER",
        help="Source files the prompts are made of; empty: Python's standard library",
    )
    add(
        "--warm",
        action="store_true",
        default=False,
        help="No per-run salt: prompts may hit what an earlier run left in the cache",
    )
    add(
        "--extra-body",
        in_form=False,
        default="",
        metavar="JSON",
        help='More request fields, such as {"ignore_eos": true}',
    )
    add(
        "--min-tokens",
        in_form=False,
        action="store_true",
        default=False,
        help="Ask for min_tokens = max_tokens, where the server knows it",
    )
    add(
        "--output-field",
        in_form=False,
        default="",
        metavar="NAME",
        help="Request field for the output tokens, with --api chat max_tokens or "
        "max_completion_tokens; empty: the usual one",
    )
    add(
        "--connect-timeout",
        in_form=False,
        default="10s",
        metavar="TIME",
        help="Wall time to connect",
    )
    add(
        "--first-token-timeout",
        in_form=False,
        default="10m",
        metavar="TIME",
        help="Wall time to first token",
    )
    add(
        "--stall-timeout",
        in_form=False,
        default="2m",
        metavar="TIME",
        help="Wall time between output chunks",
    )
    add(
        "--insecure",
        in_form=False,
        action="store_true",
        default=False,
        help="Accept any TLS certificate",
    )
    add("--ca-file", in_form=False, default="", metavar="FILE", help="Certificates to trust")
    add("--gpus", type=int, default=0, metavar="N", help="GPUs behind the endpoint, if known")
    add("--runs", in_form=False, default="runs", metavar="FOLDER", help="Where results go")
    add(
        "--run-name", default="", metavar="NAME", help="Folder of this run; empty: time and profile"
    )
    add(
        "--grafana-url",
        default="",
        metavar="URL",
        in_form=False,
        help="Grafana, for a link on the web UI's page of coding agents",
    )
    add(
        "--metrics-port",
        default="",
        metavar="PORT",
        in_form=False,
        help="Serve /metrics for Prometheus: this port or the next that is free, in every process; "
        "0: any; empty: not at all",
    )
    add(
        "--metrics-host",
        default="127.0.0.1",
        metavar="ADDRESS",
        in_form=False,
        help="Where /metrics listens; 0.0.0.0: on every interface",
    )
    add(
        "--metrics-targets",
        default="",
        metavar="FILE",
        in_form=False,
        help="Keep the addresses of all pages in this file, for Prometheus' file discovery",
    )
    add(
        "--pushgateway",
        default="",
        metavar="URL",
        in_form=False,
        help="Push the page there, every 10 s and at the end of a run",
    )
    add(
        "--pushgateway-delete",
        action="store_true",
        default=False,
        in_form=False,
        help="Delete the run's group there at its end",
    )


def _add_gate_arguments(add: Callable[..., None]) -> None:
    # Not in the web form, which knows no lists: a gate is for headless runs.
    add(
        "--slo",
        action="append",
        default=[],
        metavar="TEXT",
        in_form=False,
        help="Objective that every level must meet, such as ttft_p50<1s; repeatable",
    )
    add(
        "--baseline",
        default="",
        metavar="RUN",
        in_form=False,
        help="Folder of an earlier run that this one is held against",
    )
    add(
        "--max-regress",
        action="append",
        default=[],
        metavar="METRIC=PERCENT",
        in_form=False,
        help="How much worse than the baseline it may be, such as ttft_p50=10%%; repeatable",
    )
    add(
        "--junit",
        default="",
        metavar="FILE",
        in_form=False,
        help="Write the answers as JUnit XML",
    )


def _add_search_arguments(add: Callable[..., None]) -> None:
    add("--search-from", default="0.5M", metavar="RATE", help="The first rate to try")
    add("--search-to", default="40M", metavar="RATE", help="No rate above this")
    add(
        "--tolerance",
        default="10%",
        metavar="PERCENT",
        help="How closely the capacity is to be known",
    )


def read_options(parsed: argparse.Namespace, host: str | None) -> Options:
    """Raises OptionError, or the ValueError of `Endpoint.parse`; nothing has been sent yet."""
    if not host:
        raise OptionError("--host is missing; accepted: the base of the API, http://host:port")
    dialect = DIALECTS[_one_of("--api", parsed.api, tuple(DIALECTS))]
    return Options(
        endpoint=Endpoint.parse(host),
        api=dialect.name,
        model=parsed.model or None,
        profile=parsed.profile or "seed",
        seed=_at_least("--seed", parsed.seed, 0),
        tpm=parse_rate("--tpm", parsed.tpm) if parsed.tpm else None,
        levels_tpm=tuple(parse_rate("--levels", rate) for rate in parsed.levels.split(",")),
        hold_s=parse_duration("--hold", parsed.hold),
        drain_s=parse_duration("--drain", parsed.drain),
        ramp_s=parse_duration("--ramp", parsed.ramp),
        max_developers=_at_least("--max-developers", parsed.max_developers, 1),
        arrival_cv=_spread(parsed.arrival_cv),
        tokenizer=parsed.tokenizer,
        trust_remote_code=parsed.trust_remote_code,
        corpus=Path(parsed.corpus) if parsed.corpus else None,
        warm=parsed.warm,
        extra_body=_json_object("--extra-body", parsed.extra_body, dialect),
        min_tokens=parsed.min_tokens,
        output_field=_one_of(
            "--output-field",
            parsed.output_field or dialect.output_fields[0],
            dialect.output_fields,
        ),
        timeouts=Timeouts(
            connect_s=parse_duration("--connect-timeout", parsed.connect_timeout),
            first_token_s=parse_duration("--first-token-timeout", parsed.first_token_timeout),
            stall_s=parse_duration("--stall-timeout", parsed.stall_timeout),
        ),
        verify_tls=not parsed.insecure,
        ca_file=_file("--ca-file", parsed.ca_file),
        gpus=_at_least("--gpus", parsed.gpus, 0) or None,
        runs_folder=Path(parsed.runs),
        run_name=_name("--run-name", parsed.run_name),
        metrics=read_metrics_options(parsed),
        gate=_gate_options(parsed),
        search=_search_options(parsed),
    )


def _gate_options(parsed: argparse.Namespace) -> GateOptions:
    """Raises ValueErrors that name the option; the baseline is not opened yet."""
    baseline = Path(parsed.baseline) if parsed.baseline else None
    limits = tuple(map(Limit.parse, parsed.max_regress))
    require_baseline(baseline, limits)
    junit = Path(parsed.junit) if parsed.junit else None
    if junit is not None and not junit.parent.is_dir():
        raise OptionError(f"--junit {parsed.junit!r}: no folder {junit.parent}; accepted: a file")
    return GateOptions(
        slos=tuple(map(Slo.parse, parsed.slo)), baseline=baseline, limits=limits, junit=junit
    )


def _search_options(parsed: argparse.Namespace) -> SearchOptions:
    lowest_tpm = parse_rate("--search-from", parsed.search_from)
    highest_tpm = parse_rate("--search-to", parsed.search_to)
    if highest_tpm < lowest_tpm:
        raise OptionError(
            f"--search-to {parsed.search_to!r}: accepted are rates from --search-from on, "
            f"{parsed.search_from}"
        )
    tolerance = parse_share("--tolerance", parsed.tolerance)
    if not 0.01 <= tolerance < 1:
        raise OptionError(f"--tolerance {parsed.tolerance!r}: accepted are 1% to 99%")
    return SearchOptions(lowest_tpm=lowest_tpm, highest_tpm=highest_tpm, tolerance=tolerance)


def read_grafana_url(parsed: argparse.Namespace) -> str | None:
    """Raises OptionError."""
    return _link("--grafana-url", parsed.grafana_url)


def read_metrics_options(parsed: argparse.Namespace) -> MetricsOptions:
    """Raises OptionError; nothing has been served or sent yet."""
    port = _port("--metrics-port", parsed.metrics_port)
    if parsed.metrics_targets and port is None:
        raise OptionError(
            f"--metrics-targets {parsed.metrics_targets!r}: there are no pages without "
            "--metrics-port; accepted: both"
        )
    return MetricsOptions(
        port=port,
        host=parsed.metrics_host,
        targets=_writable("--metrics-targets", parsed.metrics_targets),
        pushgateway=_gateway("--pushgateway", parsed.pushgateway),
        pushgateway_delete=parsed.pushgateway_delete,
    )


def api_key() -> str | None:
    return next(filter(None, map(os.environ.get, API_KEY_VARIABLES)), None)


def _at_least(option: str, value: int, least: int) -> int:
    if value < least:
        raise OptionError(f"{option} {value}: accepted are whole numbers from {least} on")
    return value


def _spread(cv: float) -> float:
    if not (cv >= 0 and math.isfinite(cv)):
        raise OptionError(f"--arrival-cv {cv}: accepted are numbers from 0 (paced) on; Poisson: 1")
    return cv


def _one_of(option: str, value: str, accepted: Sequence[str]) -> str:
    if value not in accepted:
        raise OptionError(f"{option} {value!r}: accepted are {' and '.join(accepted)}")
    return value


def _json_object(option: str, text: str, dialect: Dialect) -> dict[str, Any]:
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise OptionError(f"{option} {text!r}: not JSON ({error}); accepted: an object") from None
    if not isinstance(value, dict):
        raise OptionError(f"{option} {text!r}: accepted is a JSON object")
    try:
        dialect.opening("", (), b"", value)
    except ValueError as error:
        raise OptionError(f"{option} {text!r}: {error}; accepted: other fields") from None
    return value


def _file(option: str, path: str) -> str | None:
    if path and not Path(path).is_file():
        raise OptionError(f"{option} {path!r}: no such file; accepted: a file of PEM certificates")
    return path or None


def _port(option: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise OptionError(f"{option} {text!r}: accepted are ports, 0 (any that is free) to 65535")
    return int(text)


def _writable(option: str, path: str) -> Path | None:
    if not path:
        return None
    folder = Path(path).absolute().parent
    if not os.access(folder, os.W_OK) or Path(path).is_dir():
        raise OptionError(f"{option} {path!r}: accepted is a file in a folder that can be written")
    return Path(path)


def _gateway(option: str, url: str) -> str | None:
    if not url:
        return None
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.username is not None or parts.query or parts.fragment:
        raise OptionError(
            f"{option} {_without_user(url)!r}: accepted is http://host:port, without a user"
        )
    return url


def _link(option: str, url: str) -> str | None:
    """For a browser: with any path and query."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.username is not None:
        raise OptionError(
            f"{option} {_without_user(url)!r}: accepted is http://host:port/..., without a user"
        )
    return url


def _without_user(url: str) -> str:
    """A password must not be printed."""
    return re.sub(r"//[^/@]*@", "//...@", url)


def _name(option: str, name: str) -> str | None:
    if name and not re.fullmatch(r"\w[\w.-]*", name):
        raise OptionError(
            f"{option} {name!r}: accepted are letters, digits, '.', '_' and '-', the "
            "first a letter, a digit or '_'"
        )
    return name or None
