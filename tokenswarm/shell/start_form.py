"""Start form: what a start on our page may say. The options that the locustfile reads, and no
others; what a run needs first."""

from __future__ import annotations

from locust.argument_parser import get_parser
from locust.env import Environment

import argparse

from exporters.web.tab import Field
from tokenswarm.shell import admission
from tokenswarm.shell.options import GROUPS
from workload.profiles import PROFILES

SLOS = "objectives"  # the field: Locust would make numbers of a list's words
# Of Locust's own form, with its names: locust/web.py, swarm().
_HOST, _USERS, _SPAWN_RATE, _RUN_TIME = "host", "user_count", "spawn_rate", "run_time"
CLOSED_USERS = 8  # a careful beginning: 24 make 2.5M TPM (docs/workload.md, profile seed)
_MAIN = ("--tpm", "--levels", "--hold", "--quick", "--search-from", "--search-to", "--profile")
_WORDS = {"api": "API", "tpm": "TPM", "gpus": "GPUs", "slo": "SLOs", "cv": "CV"}


def locustfile(environment: Environment) -> str:
    """Which of ours it is like, by its shape: the name in GROUPS."""
    if admission.searches(environment):
        return "capacity"
    return "ladder" if admission.offers_rates(environment) else "agents"


def used(environment: Environment) -> list[str]:
    """The options that this locustfile reads, those on the load first."""
    name = locustfile(environment)
    groups = [group for group in GROUPS if name in group.locustfiles]
    groups.sort(key=lambda group: len(group.locustfiles) > 1)
    return list(dict.fromkeys(option for group in groups for option in group.options))


def fields(environment: Environment) -> list[Field]:
    """In the order of the form, with the values that the process holds now."""
    parsed = environment.parsed_options
    if parsed is None:
        return []
    actions = {
        action.option_strings[-1]: action
        for action in get_parser()._actions
        if action.option_strings and getattr(action, "include_in_web_ui", False)
    }
    ours = [
        _field(option, actions[option], parsed)
        for option in used(environment)
        if option in actions and option not in ("--host", "--profile")
    ]
    main = [each for each in ours if each.main]
    rest = [each for each in ours if not each.main]
    return [*main, *_users(environment, parsed), _profile(parsed), _slos(parsed),
            _target(environment), *rest]  # fmt: skip


def _field(option: str, action: argparse.Action, parsed: argparse.Namespace) -> Field:
    value = getattr(parsed, action.dest, action.default)
    kind = "check" if isinstance(value, bool) else "text"
    if isinstance(value, int | float) and kind == "text":
        kind = "number"
    shown = ("true" if value else "") if kind == "check" else str(value if value else "")
    if kind == "number":
        shown = f"{value:g}"
    return Field(
        name=action.dest,
        label=_label(option),
        help=action.help or "",
        value=shown,
        kind=kind,
        main=option in _MAIN,
    )


def _label(option: str) -> str:
    words = [_WORDS.get(word, word) for word in option.strip("-").split("-")]
    label = " ".join(words)
    return label[0].upper() + label[1:]


def _users(environment: Environment, parsed: argparse.Namespace) -> list[Field]:
    """Not where a shape of load sets them."""
    if environment.shape_class is not None:
        return []
    users = (
        f"Developers; with a TPM, the most sessions open at once. Empty: {CLOSED_USERS}, or "
        f"{parsed.max_developers} with a TPM"
    )
    return [
        Field(
            name=_USERS, label="Users", help=users, value=str(parsed.num_users or ""),
            kind="number", main=True, empty=(str(CLOSED_USERS), str(parsed.max_developers)),
        ),
        Field(
            name=_SPAWN_RATE, label="Users started a second", help="How fast they come",
            value=f"{parsed.spawn_rate or 50:g}", kind="number", main=True,
        ),
        Field(
            name=_RUN_TIME, label="Run time", help="Such as 20m; empty: until it is stopped",
            value="", kind="text", main=True,
        ),
    ]  # fmt: skip


def _profile(parsed: argparse.Namespace) -> Field:
    return Field(
        name="profile", label="Profile", help="What a developer sends",
        value=parsed.profile or "seed", kind="text", main=True,
        choices=tuple(dict.fromkeys((parsed.profile or "seed", *PROFILES))),
    )  # fmt: skip


def _slos(parsed: argparse.Namespace) -> Field:
    return Field(
        name=SLOS, label="SLOs", help="Objectives, comma-separated: ttft_p50<1s,failures<1%",
        value=",".join(parsed.slo), kind="text", main=True,
    )  # fmt: skip


def _target(environment: Environment) -> Field:
    return Field(
        name=_HOST, label="Host", help="Base of the API: http://host:port",
        value=environment.host or admission.host(environment) or "", kind="text", main=True,
    )  # fmt: skip
