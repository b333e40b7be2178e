"""Admission: what can be refused before anything is sent, and what kind of run it will be."""

from __future__ import annotations

from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

import argparse
from contextlib import closing

from tokenswarm.shell import gate, preflight
from tokenswarm.shell import run as runs
from tokenswarm.shell.options import OptionError, Options, read_options
from tokenswarm.shell.options.trace import require_free_pace
from tokenswarm.shell.preflight import Examined
from workload.source import Source, load_source


def checked(
    environment: Environment, parsed: argparse.Namespace | None, host: str | None
) -> tuple[Options, Source]:
    """Everything that can be refused without sending anything. Raises ValueErrors."""
    assert parsed is not None
    options = read_options(parsed, host)
    source = load_source(options.profile, options.trace, options.trace_timing, options.habits)
    if options.runs_folder.exists() and not options.runs_folder.is_dir():
        raise OptionError(f"--runs {str(options.runs_folder)!r}: not a folder; accepted: a folder")
    folder = options.runs_folder / (options.run_name or "")
    if options.tpm is not None and offers_rates(environment):
        raise OptionError(
            f"--tpm {options.tpm:g}: the ladder has --levels of its own; accepted: one of the two"
        )
    if options.trace is not None and is_open(environment, options):
        require_free_pace(options.trace_timing, "a rate")
    if searches(environment):
        gate.require_objectives(options)
    if options.run_name and folder.exists():
        raise OptionError(
            f"--run-name {options.run_name!r}: {folder} exists; accepted: a name not used before"
        )
    return options, source


def examine(environment: Environment, options: Options, source: Source) -> Examined:
    """Asks the endpoint. Raises preflight.EndpointError, ValueErrors."""
    with closing(runs.new_client(options, runs.new_tls(options))) as client:
        examined = preflight.examine(client, options, source)
    if examined.driven and (reason := _cannot_drive(environment)):
        raise OptionError(
            f"--host {options.endpoint}: an engine with --clock driven, and {reason}; accepted: a "
            "shape of rates in one process without the web UI, or an engine with --speed"
        )
    return examined


def _cannot_drive(environment: Environment) -> str | None:
    """Why this generator cannot lead a clock: one process has to know of all that waits."""
    if isinstance(environment.runner, MasterRunner | WorkerRunner):
        return "its clock is not shared between a master and workers (--processes, --master)"
    if environment.web_ui is not None:
        return "the web UI goes by the wall clock"
    if not offers_rates(environment):
        return "levels of users, or a --run-time, go by the wall clock"
    return None


def developers(environment: Environment) -> list[type]:
    """The user classes that are coding developers; others may stand beside them."""
    return [c for c in environment.user_classes if getattr(c, "is_developer", False)]


def host(environment: Environment) -> str | None:
    """--host, else the one that the developers' classes name. Raises OptionError for several: one
    run has one target."""
    if environment.host:
        return environment.host
    hosts = {host for c in developers(environment) if (host := getattr(c, "host", None))}
    if len(hosts) > 1:
        raise OptionError(
            f"host of the user classes: {', '.join(sorted(hosts))}; accepted: one, or --host"
        )
    return hosts.pop() if hosts else None


def is_open(environment: Environment, options: Options) -> bool:
    """Whether turns follow a target line, not the developers' own pauses."""
    return options.tpm is not None or offers_rates(environment)


def searches(environment: Environment) -> bool:
    """Whether the shape looks for levels that miss their SLOs."""
    return bool(getattr(environment.shape_class, "searches", False))


def offers_rates(environment: Environment) -> bool:
    """Whether the shape's levels are rates; any other shape is about users, as usual."""
    return bool(getattr(environment.shape_class, "open_mode", False))
