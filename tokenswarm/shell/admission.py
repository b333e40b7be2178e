"""Admission: what can be refused before anything is sent, and what kind of run it will be."""

from __future__ import annotations

from locust import User
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

import argparse
import logging
import math
import os
import urllib.request
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tokenswarm.client.endpoint import Endpoint
from tokenswarm.report.notation import tpm_text
from tokenswarm.shell import gate, preflight
from tokenswarm.shell import run as runs
from tokenswarm.shell.options import (
    DEFAULT_PROFILE,
    OptionError,
    Options,
    api_key,
    defaults,
    read_options,
    readers_of_options,
)
from tokenswarm.shell.options.target import read_target
from tokenswarm.shell.options.trace import require_free_pace
from tokenswarm.shell.preflight import Examined
from tokenswarm.shell.server_start import await_ready
from workload.source import Source, developer_tpm, load_source

logger = logging.getLogger("tokenswarm")

# Developers are only places for sessions until a ticket comes, so they may all be made at once;
# this keeps a worker's heartbeat alive meanwhile (guess).
PLACES_PER_S = 100


def checked(
    environment: Environment, parsed: argparse.Namespace | None, host: str | None
) -> tuple[Options, Source]:
    """Everything that can be refused without sending anything. Raises ValueErrors."""
    assert parsed is not None
    options = read_options(with_classes(environment, parsed), host)
    source = load_source(options.profile, options.trace, options.trace_timing, options.habits)
    api_key()  # refused here where it cannot be sent
    _require_writable(options.runs_folder)
    folder = options.runs_folder / (options.run_name or "")
    if options.tpm is not None and offers_rates(environment):
        raise OptionError(
            f"--tpm {options.tpm:g}: the ladder has --levels of its own; accepted: one of the two"
        )
    _require_own_options(environment, parsed)
    _require_tasks(environment, parsed)
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
    """Asks the endpoint, and waits for it as long as --wait-ready says. Raises
    preflight.EndpointError, ValueErrors."""
    if (variable := proxy_variable(options.endpoint)) is not None:
        logger.warning(
            "%s names a proxy: it is not used, connections go to %s itself",
            variable,
            options.endpoint,
        )
    with closing(runs.new_client(options, runs.new_tls(options))) as client:
        examined = await_ready(
            lambda: preflight.examine(client, options, source), options.wait_ready_s
        )
    if examined.driven and (reason := _cannot_drive(environment)):
        raise OptionError(
            f"--host {options.endpoint}: an engine with --clock driven, and {reason}; accepted: a "
            "shape of rates in one process without the web UI, or an engine with --speed"
        )
    return examined


def proxy_variable(endpoint: Endpoint) -> str | None:
    """The variable whose proxy other programs would use for the endpoint: <SCHEME>_PROXY or
    ALL_PROXY, in capitals or not, unless NO_PROXY excepts its host. Its value may hold a
    password."""
    if urllib.request.proxy_bypass(endpoint.host):
        return None
    given = {name.lower(): name for name, value in os.environ.items() if value}
    return given.get(f"{endpoint.scheme}_proxy") or given.get("all_proxy")


def _require_writable(runs: Path) -> None:
    """Raises OptionError where no run could be kept; makes nothing there."""
    there = next(path for path in (runs.absolute(), *runs.absolute().parents) if path.exists())
    if not there.is_dir():
        raise OptionError(f"--runs {str(runs)!r}: {there} is not a folder; accepted: a folder")
    try:
        TemporaryFile(dir=there).close()
    except OSError as error:
        raise OptionError(
            f"--runs {str(runs)!r}: nothing can be written in {there} ({error.strerror}); "
            "accepted: a folder that can be written"
        ) from None


def _require_own_options(environment: Environment, parsed: argparse.Namespace) -> None:
    """Raises OptionError for an option with another value than its default that this locustfile
    does not read: whoever gave it would believe that it was obeyed. A shape that is not ours may
    read any."""
    shape = environment.shape_class
    name = getattr(shape, "options_of", None) if offers_rates(environment) else "agents"
    if name is None:
        return
    for option, readers in readers_of_options().items():
        given = getattr(parsed, option.strip("-").replace("-", "_"))
        if name not in readers and given != defaults()[option]:
            others = " or ".join(f"`tokenswarm run {other}`" for other in readers)
            raise OptionError(
                f"{option} {given!r}: `tokenswarm run {name}` does not read it; accepted: it with "
                f"{others}"
            )


def _require_tasks(environment: Environment, parsed: argparse.Namespace) -> None:
    """Raises OptionError where Locust's tags leave a developer nothing to do: it would be spawned
    and fail, again and again. Locust sorts tasks out at the start of the traffic."""
    asked = {
        option: set(getattr(parsed, option.strip("-").replace("-", "_"), None) or ())
        for option in ("--tags", "--exclude-tags")
    }
    wanted, unwanted = asked.values()

    def stays(task: Any) -> bool:
        tags: set[str] = getattr(task, "locust_tag_set", set())
        nested = isinstance(task, type)  # a TaskSet, which has tasks of its own
        return nested or ((not wanted or bool(tags & wanted)) and not tags & unwanted)

    for developer in developers(environment):
        if (wanted or unwanted) and not any(map(stays, developer.tasks)):
            said = (f"{option} {' '.join(sorted(tags))}" for option, tags in asked.items() if tags)
            raise OptionError(
                f"{' '.join(said)}: nothing is left to do for {developer.__name__}; accepted: "
                "tags that its tasks have, or none"
            )


def changed(held: argparse.Namespace, wanted: argparse.Namespace) -> dict[str, Any]:
    """Options of ours whose values differ, with the wanted ones."""
    names = {option: option.strip("-").replace("-", "_") for option in defaults()}
    return {
        option: getattr(wanted, name)
        for option, name in names.items()
        if getattr(wanted, name) != getattr(held, name)
    }


def require_no_users(environment: Environment, parsed: argparse.Namespace) -> None:
    """A ladder's rates say how many there are. Before the start alone: Locust fills in a user where
    none was asked for. Raises OptionError."""
    shape = environment.shape_class
    name = getattr(shape, "options_of", None)
    if name is not None and offers_rates(environment):
        for option, given in (("--users", parsed.num_users), ("--run-time", parsed.run_time)):
            if given is not None:
                raise OptionError(
                    f"{option} {given}: the rates of `tokenswarm run {name}` say how many "
                    "developers there are and how long it lasts; accepted: --max-developers, "
                    "--hold, or `tokenswarm run agents`"
                )


def require_time(environment: Environment, options: Options, speed: float) -> None:
    """A run at a rate lasts beyond its ramp, or the rate is never offered. Raises OptionError."""
    parsed = environment.parsed_options
    if options.tpm is None or parsed is None or not parsed.run_time:
        return
    if parsed.run_time * speed <= options.ramp_s:
        raise OptionError(
            f"--run-time {parsed.run_time}: the rate is reached after --ramp {options.ramp_s:g}s"
            f"{'' if speed == 1 else f' of the engine, at speed {speed:g}'}; accepted: a longer "
            "run, or a shorter ramp"
        )


def fill_places(environment: Environment, options: Options) -> None:
    """A headless run at a rate without -u has as many places as a ladder: Locust would take one."""
    parsed = environment.parsed_options
    assert parsed is not None
    if options.tpm is not None and parsed.num_users is None:
        parsed.num_users = options.max_developers
        parsed.spawn_rate = parsed.spawn_rate or PLACES_PER_S


def too_few(environment: Environment, options: Options, source: Source) -> str | None:
    """What to say of a rate that the places cannot carry, each with the pauses of profile or
    trace: tpm / developer_tpm developers are needed. None where they can, or where pauses are
    somebody else's."""
    parsed = environment.parsed_options
    assert parsed is not None
    if searches(environment) or any(
        getattr(c, "_own_pause", None) for c in developers(environment)
    ):
        return None  # a search ends where its places do
    if offers_rates(environment):
        option, places, tpm = "--max-developers", options.max_developers, max(options.levels_tpm)
    elif options.tpm is not None:
        option, places, tpm = "--users", parsed.num_users, options.tpm
    else:
        return None
    each_tpm = developer_tpm(source)
    needed = math.ceil(tpm / each_tpm)
    if needed <= places:
        return None
    return (
        f"{option} {places}: a developer of {source.name} sends about "
        f"{tpm_text(each_tpm)} tokens a minute, all of them {tpm_text(places * each_tpm)} of the "
        f"{tpm_text(tpm)} asked for; {needed} or more can send that"
    )


def _cannot_drive(environment: Environment) -> str | None:
    """Why this generator cannot lead a clock: one process has to know of all that waits."""
    if isinstance(environment.runner, MasterRunner | WorkerRunner):
        return "its clock is not shared between a master and workers (--processes, --master)"
    if environment.web_ui is not None:
        return "the web UI goes by the wall clock"
    if not offers_rates(environment):
        return "levels of users, or a --run-time, go by the wall clock"
    return None


def developers(environment: Environment) -> list[type[User]]:
    """The user classes that are coding developers; others may stand beside them."""
    return [c for c in environment.user_classes if getattr(c, "is_developer", False)]


def host(environment: Environment) -> str | None:
    """--host, else that of --target, else the one that the developers' classes name or whose file
    they name. Raises OptionError for several: one run has one target."""
    parsed = environment.parsed_options
    if environment.host:
        return environment.host
    if parsed is not None and parsed.target:
        return read_target(parsed.target).url
    named = _of_classes(environment, "host") or None
    target = _of_classes(environment, "target")
    return read_target(target).url if target and named is None else named


def with_classes(environment: Environment, parsed: argparse.Namespace) -> argparse.Namespace:
    """The options with what the developers' classes say where the command line does not. Raises
    OptionError where they differ: one run has one target, one workload and one dialect."""
    filled = argparse.Namespace(**vars(parsed))
    for name in ("target", "agent"):
        if not getattr(parsed, name):
            setattr(filled, name, _of_classes(environment, name))
    if parsed.profile in (None, DEFAULT_PROFILE):
        filled.profile = _of_classes(environment, "profile") or parsed.profile
    return filled


def _of_classes(environment: Environment, name: str) -> str:
    """The attribute of the developers' classes, "" where none has it. Raises OptionError."""
    values = {value for c in developers(environment) if (value := getattr(c, name, None))}
    if len(values) > 1:
        raise OptionError(
            f"{name} of the user classes: {', '.join(sorted(values))}; accepted: one, or --{name}"
        )
    return min(values, default="")


def is_open(environment: Environment, options: Options) -> bool:
    """Whether turns follow a target line, not the developers' own pauses."""
    return options.tpm is not None or offers_rates(environment)


def searches(environment: Environment) -> bool:
    """Whether the shape looks for levels that miss their SLOs."""
    return bool(getattr(environment.shape_class, "searches", False))


def offers_rates(environment: Environment) -> bool:
    """Whether the shape's levels are rates; any other shape is about users, as usual."""
    return bool(getattr(environment.shape_class, "open_mode", False))
