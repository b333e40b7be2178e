"""tokenswarm run NAME: traffic to an endpoint by Locust, with one of the shipped locustfiles.

    tokenswarm run ladder --host http://127.0.0.1:8000 --levels 1M,2M,2.5M --hold 8m

is `locust -f locustfiles/tpm_ladder.py --headless --only-summary --skip-log-setup --host ...`; with
--web the web UI is served instead. Every option of Locust is accepted as well (`locust --help`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tokenswarm.exit_codes import BAD_INPUT

FOLDER = Path(__file__).parents[2] / "locustfiles"
LOCUSTFILES = {
    "agents": ("coding_agents.py", "developers at their own pace, or on a target line with --tpm"),
    "ladder": ("tpm_ladder.py", "one TPM level after the other, then a drain"),
    "capacity": ("capacity.py", "searches the highest TPM at which every --slo holds"),
}
HEADLESS = ("--headless", "--only-summary", "--skip-log-setup")


def main(arguments: Sequence[str]) -> int:
    name, *rest = arguments or ("--help",)
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    if name not in LOCUSTFILES:
        accepted = ", ".join(LOCUSTFILES)
        print(f"run: no locustfile {name!r}; accepted: {accepted}", file=sys.stderr)
        return BAD_INPUT
    if "-h" in rest or "--help" in rest:
        print(_options(name))
        return 0
    command = command_of(name, rest)
    sys.stdout.flush()
    # Locust takes this process' place: signals reach it and its exit code is ours.
    os.execv(sys.executable, [sys.executable, "-m", *command])


def command_of(name: str, rest: Sequence[str]) -> list[str]:
    """`locust` and its words."""
    web = "--web" in rest or "--master" in rest or "--worker" in rest
    words = [word for word in rest if word != "--web"]
    return ["locust", "-f", str(FOLDER / LOCUSTFILES[name][0]), *(() if web else HEADLESS), *words]


def _usage() -> str:
    lines = (f"  {name:9} {file:18} {what}" for name, (file, what) in LOCUSTFILES.items())
    return "\n".join(
        (
            "usage: tokenswarm run NAME --host URL [--web] [OPTION ...]",
            "       tokenswarm run NAME --help",
            "",
            *lines,
            "",
            "--web serves Locust's web UI instead of starting at once.",
        )
    )


def _options(name: str) -> str:
    """Our options, those that this locustfile reads, in groups."""
    from locust.argument_parser import get_parser  # patches the standard library

    import tokenswarm.shell.wiring  # noqa: F401 - its options join Locust's parser
    from tokenswarm.shell.options import GROUPS, described

    actions = described(get_parser())
    form = argparse.HelpFormatter("tokenswarm run", max_help_position=30, width=100)
    for group in GROUPS:
        if name in group.locustfiles:
            form.start_section(group.title)
            form.add_arguments(_with_default(actions[option]) for option in group.options)
            form.end_section()
    return (
        f"usage: tokenswarm run {name} --host URL [OPTION ...]\n\n"
        f"{LOCUSTFILES[name][0]}: {LOCUSTFILES[name][1]}\n"
        "Each option has a variable TOKENSWARM_<NAME>. -u, -r, -t, --processes, --master, --worker "
        "and\nthe rest of Locust's options: locust --help\n\n" + form.format_help()
    )


def _with_default(action: argparse.Action) -> argparse.Action:
    shown = argparse.Action(action.option_strings, action.dest, metavar=action.metavar)
    shown.nargs = action.nargs
    has = action.default not in (None, "", False, []) and action.default is not argparse.SUPPRESS
    default = f" (default: {action.default})" if has else ""
    shown.help = (action.help or "").partition(" [env var")[0] + str(default).replace("%", "%%")
    return shown
