"""Arguments: every option of ours, its default, its help, and who reads it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from tokenswarm.measure.record import MAX_RETRY_AFTER_S
from tokenswarm.shell.options.trace import TRACE_OPTIONS
from workload.profiles import PROFILES


@dataclass(frozen=True, slots=True)
class Group:
    """Options that belong together, for help and docs. locustfiles: those that read them, by the
    names of `tokenswarm run`."""

    title: str
    locustfiles: tuple[str, ...]
    options: tuple[str, ...]


ALL = ("agents", "ladder", "capacity")
GROUPS = (
    Group(
        "target",
        ALL,
        (
            *("--target", "--host", "--base-path", "--query", "--agent", "--api", "--header"),
            "--session-header",
            *("--model", "--gpus", "--insecure", "--ca-file"),
        ),
    ),
    Group("rate", ("agents",), ("--tpm", "--ramp", "--max-developers", "--arrival-cv")),
    Group(
        "ladder",
        ("ladder",),
        (
            *("--levels", "--hold", "--quick", "--ramp", "--drain", "--max-developers"),
            "--arrival-cv",
        ),
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
            *("--profile", "--fit-context", "--seed", "--corpus", "--tokenizer"),
            *("--trust-remote-code", "--warm", "--extra-body", "--min-tokens", "--output-field"),
            "--history-reasoning",
        ),
    ),
    Group("replay", ALL, tuple(TRACE_OPTIONS)),
    Group(
        "patience",
        ALL,
        (
            *("--wait-ready", "--connect-timeout", "--first-token-timeout", "--stall-timeout"),
            "--max-retry-after",
        ),
    ),
    Group("judgement", ALL, ("--slo", "--baseline", "--max-regress", "--junit", "--max-failures")),
    Group("web UI", ALL, ("--web-allowed-host", "--allow-hosts")),
    Group(
        "results and metrics",
        ALL,
        (
            *("--runs", "--run-name", "--grafana-url", "--metrics-port", "--metrics-host"),
            *("--metrics-url", "--metrics-targets", "--pushgateway", "--pushgateway-delete"),
        ),
    ),
)


# What --quick stands for: eight minutes of levels, then what is under way. Few and long ones, for
# each step brings developers in mid-session whose first prompts no cache holds: simulated, TTFT p50
# was up to 2.8 times its settled value below the knee in four levels of two minutes, 1.5 times here
# (docs/reading.md).
QUICK = {"--levels": "1M,1.75M,2.5M", "--hold": "160s", "--drain": "2m"}
# --profile is Locust's own option, a label for grouping runs: ours is that label's meaning.
PROFILE_VARIABLE = "TOKENSWARM_PROFILE"
DEFAULT_PROFILE = "seed"
_PROFILE_HELP = f"Shape of the sessions: {', '.join(PROFILES)}, or a .toml file"


def described(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Each option of Locust's parser by its name, for help and docs."""
    actions = {name: action for action in parser._actions for name in action.option_strings}
    actions["--profile"].help = _PROFILE_HELP
    return actions


def readers_of_options() -> dict[str, tuple[str, ...]]:
    """The locustfiles that read an option, for those that not all of them do."""
    readers: dict[str, tuple[str, ...]] = {}
    for group in GROUPS:
        for option in group.options:
            readers[option] = (*readers.get(option, ()), *group.locustfiles)
    return {option: names for option, names in readers.items() if set(names) != set(ALL)}


@cache
def defaults() -> dict[str, Any]:
    """Of every option that `add_arguments` adds, by its name."""
    found: dict[str, Any] = {}

    class Listing:
        def set_defaults(self, **_values: Any) -> None:
            """Those of Locust's options."""

        def add_argument(self, name: str, *, default: Any, **_settings: Any) -> None:
            found[name] = default

    add_arguments(Listing())
    return found


def add_arguments(parser: Any) -> None:
    """Adds tokenswarm's options; each has an environment variable TOKENSWARM_<NAME>."""
    profile = os.environ.get(PROFILE_VARIABLE, DEFAULT_PROFILE)
    # Who reaches the web UI may type in a host, and the key goes there. Locust would let everyone.
    parser.set_defaults(profile=profile, stop_timeout="120", web_host="127.0.0.1")
    parser.set_defaults(master_bind_host="127.0.0.1")  # nor may everyone join

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
        "--quick",
        action="store_true",
        default=False,
        help=f"A first answer in ten minutes: --levels {QUICK['--levels']} --hold "
        f"{QUICK['--hold']} --drain {QUICK['--drain']}; the report says how sure it is",
    )
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
        help="Most sessions open at once; of a run with --tpm: where -u does not say it",
    )
    add(
        "--arrival-cv",
        type=float,
        default=0.0,
        metavar="CV",
        help="Open mode: spread of the arrivals; 0 paced, 1 Poisson, more bursty",
    )
    for option, settings in TRACE_OPTIONS.items():
        add(option, in_form=False, **settings)
    _add_gate_arguments(add)
    _add_search_arguments(add)
    add(
        "--target",
        in_form=False,
        default="",
        metavar="FILE",
        help="A .toml file that describes the endpoint; other options hold over it",
    )
    add(
        "--agent",
        default="",
        metavar="NAME",
        help="Send as an agent does: claude-code, codex, opencode; empty: plainly",
    )
    add(
        "--api",
        default="",
        metavar="NAME",
        help="chat, messages (Anthropic) or responses; empty: the agent's, or chat",
    )
    add(
        "--base-path",
        in_form=False,
        default="",
        metavar="PATH",
        help="Path before each call, where it names no version, such as /serving-endpoints; / for "
        "none; empty: that of --host, with /v1 where it has no version",
    )
    add(
        "--query",
        in_form=False,
        default="",
        metavar="TEXT",
        help="Query of each call (api-version=2024-10-21); secrets as $VARIABLE",
    )
    add(
        "--header",
        in_form=False,
        action="append",
        default=[],
        metavar="TEXT",
        help="One more header, 'Name: value', of every request; secrets as $VARIABLE; repeatable",
    )
    add(
        "--session-header",
        in_form=False,
        action="append",
        default=[],
        metavar="NAME",
        help="A header that carries the session's id, such as X-Session-ID; repeatable",
    )
    add("--model", default="", metavar="NAME", help="Model; empty: the only one the server lists")
    add(
        "--fit-context",
        type=int,
        default=0,
        metavar="TOKENS",
        help="Scale the profile's prompts so that the longest and its reply fit a context of so "
        "many; 0: as it is",
    )
    add("--seed", type=int, default=1, metavar="N", help="Same seed, same sessions and prompts")
    add(
        "--tokenizer",
        in_form=False,
        default="",
        metavar="NAME",
        help="A tiktoken encoding, a Hugging Face name or a folder; empty: embedded",
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
        "--history-reasoning",
        in_form=False,
        default="auto",
        metavar="WHEN",
        help="Whether tool calls in the history carry the model's reasoning, as Kimi's thinking "
        "models want it: on, off, or auto: where the endpoint refuses a history without",
    )
    add(
        "--wait-ready",
        in_form=False,
        default="",
        metavar="TIME",
        help="Wall time to wait before the run for an endpoint that nobody serves yet or that "
        "answers 502, 503 or 504; empty: not at all",
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
        "--max-retry-after",
        in_form=False,
        default=f"{MAX_RETRY_AFTER_S:g}s",
        metavar="TIME",
        help="Most wall time that a Retry-After is obeyed for",
    )
    add(
        "--insecure",
        in_form=False,
        action="store_true",
        default=False,
        help="Accept any TLS certificate",
    )
    add("--ca-file", in_form=False, default="", metavar="FILE", help="Certificates to trust")
    add(
        "--web-allowed-host",
        in_form=False,
        default="",
        metavar="NAMES",
        help="Names the web UI is reached by, comma-separated, beside localhost and addresses",
    )
    add(
        "--allow-hosts",
        in_form=False,
        default="",
        metavar="HOSTS",
        help="Where the web UI's form may point the traffic, beside --host and loopback: names or "
        "name:port, comma-separated",
    )
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
        "--metrics-url",
        action="append",
        default=[],
        metavar="URL",
        in_form=False,
        help="Metrics page of the server, one of each replica; repeatable",
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
    add(
        "--max-failures",
        default="20%",
        metavar="PERCENT",
        in_form=False,
        help="End the run where more of its last 50 turns fail than this and chance explain (6 of "
        "6, 23 of 50), or than a --slo of failures allows where that is more; off: never. A "
        "search never ends by it",
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
