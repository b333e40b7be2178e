"""The command map: `tokenswarm COMMAND`, one line each. A command is a module with a `main`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from tokenswarm.exit_codes import BAD_INPUT, INTERRUPTED

# Command, what it does. Its module has its name and is imported when it is asked for.
COMMANDS = {
    "demo": "the embedded engine under a ladder of six TPM levels: table, verdict and page",
    "live": "engine, master with web UI, two workers and Prometheus, until Ctrl-C",
    "run": "traffic to an endpoint: `run agents`, `run ladder` or `run capacity`, by Locust",
    "turns": "endpoints take turns, A B B A, and are compared",
    "report": "print a run again, judge objectives, hold it against a baseline, write files",
    "compare": "runs side by side: table, paired differences, curves",
    "cost": "what requests like a run's cost, at list prices and on rented GPUs",
    "profile": "what a profile's sessions look like, against what it promises",
    "fit": "a profile from recorded sessions or agents' logs; numbers only",
    "engine": "serve the embedded engine, a simulated OpenAI-compatible endpoint",
    "simulate": "the embedded engine in virtual time, without HTTP: curve, compare, whatif, habits",
}
HELP = ("-h", "--help")


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}}  {what}" for name, what in COMMANDS.items())
    return "\n".join(
        (
            "usage: tokenswarm COMMAND [OPTION ...]",
            "       tokenswarm COMMAND --help",
            "       tokenswarm --version",
            "",
            *lines,
            "",
            "Traffic also runs by Locust itself: locust -f locustfiles/tpm_ladder.py --host URL",
            "Exit codes: 0 fine, 1 an objective is missed or worse than the baseline, 2 bad input,",
            "3 not judged, 4 INVALID, 130 interrupted.",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or HELP[:1]
    if name in HELP:
        print(usage())
        return 0
    if name == "--version":
        print(f"tokenswarm {version('tokenswarm')}")
        return 0
    if name not in COMMANDS:
        print(f"tokenswarm: no command {name!r}; accepted: {', '.join(COMMANDS)}", file=sys.stderr)
        return BAD_INPUT
    try:
        code: int = import_module(f"tokenswarm.commands.{name}").main(rest)
    except (ValueError, OSError) as error:  # a wrong option, or a file that cannot be had
        print(f"tokenswarm {name}: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
