"""Read: parsed arguments to values; what is wrong is named, with what is accepted."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tokenswarm.client.agent import AGENTS, PLAIN, Agent
from tokenswarm.client.dialects import CHAT, DIALECTS, Dialect
from tokenswarm.client.endpoint import Endpoint
from tokenswarm.client.stream import Timeouts
from tokenswarm.measure.amounts import OptionError, parse_duration, parse_rate, parse_share
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.regression import Limit
from tokenswarm.report.gate import require_baseline
from tokenswarm.shell.options.arguments import DEFAULT_PROFILE, QUICK, defaults
from tokenswarm.shell.options.header import read_header, read_header_name, read_query
from tokenswarm.shell.options.target import read_target
from tokenswarm.shell.options.trace import trace_path, trace_timing
from tokenswarm.shell.options.values import (
    REASONING,
    GateOptions,
    MetricsOptions,
    Options,
    SearchOptions,
)
from workload.habits import require_habits
from workload.profiles import LEAST_CONTEXT_TOKENS
from workload.tokens import EMBEDDED


def read_options(parsed: argparse.Namespace, host: str | None) -> Options:
    """host: where a target file names none. Raises OptionError, or the ValueError of
    `Endpoint.parse`; nothing has been sent yet."""
    if not parsed.target:
        return _read(parsed, host, None)
    target = read_target(parsed.target)
    if host and host != target.url:
        target = target.without_url()
    target = target.where_not_given(parsed, defaults())
    try:
        return _read(target.filled_in(parsed), host or target.url, target.name)
    except ValueError as error:
        named = target.names(str(error))
        if named is None:
            raise
        raise OptionError(named) from None


def _read(parsed: argparse.Namespace, host: str | None, target_name: str | None) -> Options:
    if not host:
        raise OptionError("--host is missing; accepted: the base of the API, http://host:port")
    agent = AGENTS[_one_of("--agent", parsed.agent or PLAIN.name, tuple(AGENTS))]
    dialect = _dialect(parsed.api, agent)
    levels, hold, drain = _ladder(parsed)
    query, secrets = read_query("&".join(filter(None, (agent.query, parsed.query))))
    return Options(
        endpoint=Endpoint.parse(host, parsed.base_path, query),
        target_name=target_name,
        api=dialect.name,
        agent=agent,
        headers=tuple(map(read_header, parsed.header)),
        secrets=secrets,
        session_headers=tuple(
            read_header_name("--session-header", name) for name in parsed.session_header
        ),
        model=parsed.model or None,
        profile=_profile(parsed),
        trace=trace_path(parsed),
        trace_timing=trace_timing(parsed),
        habits=require_habits(parsed.habit),
        seed=_at_least("--seed", parsed.seed, 0),
        tpm=parse_rate("--tpm", parsed.tpm) if parsed.tpm else None,
        levels_tpm=tuple(parse_rate("--levels", rate) for rate in levels.split(",")),
        hold_s=parse_duration("--hold", hold),
        drain_s=parse_duration("--drain", drain),
        quick=parsed.quick,
        ramp_s=parse_duration("--ramp", parsed.ramp),
        max_developers=_at_least("--max-developers", parsed.max_developers, 1),
        arrival_cv=_spread(parsed.arrival_cv),
        tokenizer=parsed.tokenizer or EMBEDDED,
        trust_remote_code=parsed.trust_remote_code,
        corpus=Path(parsed.corpus) if parsed.corpus else None,
        warm=parsed.warm,
        extra_body=_json_object("--extra-body", parsed.extra_body, dialect, agent),
        min_tokens=parsed.min_tokens,
        output_field=_one_of(
            "--output-field",
            parsed.output_field or dialect.output_fields[0],
            dialect.output_fields,
        ),
        history_reasoning=_one_of("--history-reasoning", parsed.history_reasoning, REASONING),
        max_retry_after_s=parse_duration("--max-retry-after", parsed.max_retry_after),
        wait_ready_s=(
            parse_duration("--wait-ready", parsed.wait_ready) if parsed.wait_ready else 0.0
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
        metrics_urls=tuple(dict.fromkeys(map(_page, parsed.metrics_url))),
        gate=_gate(parsed),
        search=_search(parsed),
    )


def _dialect(asked: str, agent: Agent) -> Dialect:
    name = _one_of("--api", asked or agent.api or CHAT.name, tuple(DIALECTS))
    if agent.api not in (None, name):
        raise OptionError(
            f"--api {name}: {agent.name} speaks {agent.api} alone; accepted: --api {agent.api}, or "
            f"--agent {PLAIN.name}"
        )
    return DIALECTS[name]


def _ladder(parsed: argparse.Namespace) -> tuple[str, ...]:
    """Levels, hold and drain, as given or as --quick has them; both at once is refused."""
    given = {"--levels": parsed.levels, "--hold": parsed.hold, "--drain": parsed.drain}
    if not parsed.quick:
        return tuple(given.values())
    for option, value in given.items():
        if value not in (defaults()[option], QUICK[option]):
            raise OptionError(
                f"--quick: it is {option} {QUICK[option]}, not {value}; accepted: one of the two"
            )
    return tuple(QUICK.values())


def _gate(parsed: argparse.Namespace) -> GateOptions:
    """Raises ValueErrors that name the option; the baseline is not opened yet."""
    baseline = Path(parsed.baseline) if parsed.baseline else None
    limits = tuple(map(Limit.parse, parsed.max_regress))
    require_baseline(baseline, limits)
    junit = Path(parsed.junit) if parsed.junit else None
    if junit is not None and not junit.parent.is_dir():
        raise OptionError(f"--junit {parsed.junit!r}: no folder {junit.parent}; accepted: a file")
    slos = tuple(map(Slo.parse, parsed.slo))
    return GateOptions(
        slos=slos,
        baseline=baseline,
        limits=limits,
        junit=junit,
        max_failures=_max_failures(parsed.max_failures, slos),
    )


def _max_failures(text: str, slos: Sequence[Slo]) -> float | None:
    """What an objective of failures allows does not end the run."""
    if text == "off":
        return None
    try:
        share = parse_share("--max-failures", text)
    except OptionError:
        share = math.nan
    if not share < 1:
        raise OptionError(f"--max-failures {text!r}: accepted are 0% to 99%, or off")
    allowed = max((s.threshold for s in slos if s.metric == "failures"), default=0.0)
    return max(share, allowed) if allowed < 1 else None


def _search(parsed: argparse.Namespace) -> SearchOptions:
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


def _page(url: str) -> str:
    """An address of a metrics page; /metrics where it has no path."""
    accepted = "accepted: http://host:port or https://host:port, with a path or without"
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise OptionError(f"--metrics-url {url!r}: {error}; {accepted}") from error
    if parts.username or parts.password:
        raise OptionError(f"--metrics-url: a user in the address; {accepted}, and no user")
    if not fits:
        raise OptionError(f"--metrics-url {url!r}: {accepted}")
    return parts._replace(path="/metrics").geturl() if parts.path in ("", "/") else url


def _profile(parsed: argparse.Namespace) -> str:
    """Its name, with the context that it is to be fitted to."""
    name, context_tokens = parsed.profile or DEFAULT_PROFILE, parsed.fit_context
    if not context_tokens:
        return name
    _at_least("--fit-context", context_tokens, LEAST_CONTEXT_TOKENS)
    if parsed.trace:
        raise OptionError(
            f"--fit-context {context_tokens}: a trace's prompts are as long as they were; "
            "accepted: it with a --profile"
        )
    return f"{name}@{context_tokens}"


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


def _json_object(option: str, text: str, dialect: Dialect, agent: Agent) -> dict[str, Any]:
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise OptionError(f"{option} {text!r}: not JSON ({error}); accepted: an object") from None
    if not isinstance(value, dict):
        raise OptionError(f"{option} {text!r}: accepted is a JSON object")
    try:
        dialect.opening("", (), b"", value, agent=agent)
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
