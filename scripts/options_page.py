"""Writes docs/options.md from the parsers, the exit codes and the kinds of failure.

python scripts/options_page.py            writes it
python scripts/options_page.py --print    prints it
"""

from __future__ import annotations

from locust.argument_parser import get_parser

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

import tokenswarm.shell.wiring  # noqa: F401 - its options join Locust's parser
from tokenswarm.__main__ import COMMANDS
from tokenswarm.measure.record import OUTCOMES
from tokenswarm.shell.options import ALL, GROUPS, PROFILE_VARIABLE, described

PAGE = Path(__file__).parents[1] / "docs" / "options.md"

HEAD = """\
# Options, exit codes, failure kinds

<!-- Written by scripts/options_page.py from the parsers (`make docs`). Edit those. -->

## Traffic

Options of `locust -f locustfiles/…` and of `tokenswarm run`. `locust --help` prints Locust's own
only, because it stops before it loads the file; `tokenswarm run ladder --help` prints these.
Rates take `k` and `M`, times `s`, `m` and `h`. An option on the command line beats its
environment variable. Locust's own `-u`, `-r`, `-t` and the rest work as documented there;
`--stop-timeout` is 120 s here instead of 0, so that turns under way can end. Against the embedded
engine at speed S, `--hold`, `--ramp` and `--drain` are engine time, as are all results; `-t`,
`-r`, `--stop-timeout` and the three timeouts are wall time.
"""
ENVIRONMENT = """\
Environment only: `TOKENSWARM_API_KEY` (else `OPENAI_API_KEY`); `TOKENSWARM_CACHE`, the folder of
counted corpora and of what profiles promise (else the user's cache folder: `~/.cache/tokenswarm`
on Linux, `~/Library/Caches/tokenswarm` on macOS);
`TOKENSWARM_ENGINE_API_KEY`, the key that the embedded engine asks for.
"""
_INVALID = "the run is INVALID"
_UNSURE = "nothing failed, something could not be judged"
EXIT_CODES = (
    (
        *("`locust`", "no turn failed", "a turn failed (`--exit-code-on-error` changes it)"),
        *("a setting or the endpoint was refused", "", _INVALID),
    ),
    (
        *("`locust` with `--slo` or `--max-regress`", "every objective met"),
        *("one is missed at some level, or a limit exceeded", "as above", _UNSURE, _INVALID),
    ),
    (
        *("`tokenswarm report`", "fine", "an SLO is missed at some level, or a limit exceeded"),
        *("bad input", _UNSURE, _INVALID),
    ),
    (
        *("`tokenswarm profile`", "every row ok, or too few turns to say", "a row is off"),
        *("bad option", "", ""),
    ),
    ("`tokenswarm engine`", "stopped, or done", "", "bad option, port in use", "", ""),
)
ENDINGS = {
    "ok": "a complete answer",
    "cancelled": "the simulated user interrupted it, as planned; no failure",
    "withheld": "a complete answer whose tokens the server counted and did not send, as vLLM's "
    "tool parsers do with a call that `max_tokens` cut short; no failure",
    "unfinished": "under way when the run ended: neither good nor bad",
    "connect": "refused, unreachable, name not found, reset before the answer began",
    "connect_timeout": "no connection in time",
    "tls": "handshake or certificate",
    "first_token_timeout": "sent, and no output in time",
    "stall_timeout": "output began, then stopped",
    "truncated": "the stream ended without a finish reason or `[DONE]`",
    "malformed": "not HTTP, not an event stream, not JSON",
    "empty": "a complete answer without any output",
    "stream_error": "an error object inside a 200 stream, or a finish reason that gives up",
    "endless": "output went on far beyond `max_tokens`",
    "context_overflow": "the server says that the prompt is too long; the session ends",
    "http_401": "401 and 403",
    "http_404": "404",
    "http_429": "429",
    "http_4xx": "every other 4xx, and redirects",
    "http_5xx": "the server failed",
}


def main(arguments: Sequence[str]) -> int:
    """Raises KeyError for a kind of ending that is not described."""
    if list(arguments) == ["--print"]:
        sys.stdout.write(page())
    else:
        PAGE.write_text(page(), encoding="utf-8")
    return 0


def page() -> str:
    """Of the defaults that stand in the code, whatever the environment says."""
    for variable in [name for name in os.environ if name.startswith("TOKENSWARM_")]:
        del os.environ[variable]
    parts = [HEAD, *_traffic(), ENVIRONMENT, *_commands(), _exit_codes(), _endings()]
    return "\n".join(parts)


def _traffic() -> Iterator[str]:
    actions = described(get_parser())
    for group in GROUPS:
        readers = "" if group.locustfiles == ALL else f" ({', '.join(group.locustfiles)})"
        heading = ("option", "environment", "default", "meaning")
        rows = [_traffic_row(actions[option]) for option in group.options]
        yield f"### {group.title.capitalize()}{readers}\n\n{_table(heading, rows)}"


def _traffic_row(action: argparse.Action) -> tuple[str, ...]:
    option, default, meaning = _row(action)
    variable = PROFILE_VARIABLE if action.dest == "profile" else getattr(action, "env_var", "")
    return option, f"`{variable}`", default, meaning


def _commands() -> Iterator[str]:
    for name, what in COMMANDS.items():
        parser = getattr(import_module(f"tokenswarm.commands.{name}"), "parser", None)
        if parser is None:
            continue  # demo takes none; run is above
        yield f"## tokenswarm {name}\n\n{what[0].upper()}{what[1:]}.\n"
        yield from _tables(parser())


def _tables(parser: argparse.ArgumentParser) -> Iterator[str]:
    """One, or one for what all its sub-commands share and one for each."""
    heading = ("option", "default", "meaning")
    subs = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not subs:
        yield _table(heading, _rows(parser))
        return
    rows = {name: _rows(sub) for name, sub in subs[0].choices.items()}
    shared = [row for row in next(iter(rows.values())) if all(row in r for r in rows.values())]
    yield _table(heading, shared)
    for name, own in rows.items():
        yield f"### {parser.prog.partition(' ')[2]} {name}\n"
        yield _table(heading, [row for row in own if row not in shared])


def _rows(parser: argparse.ArgumentParser) -> list[tuple[str, ...]]:
    return [_row(action) for action in parser._actions if action.dest != "help"]


def _row(action: argparse.Action) -> tuple[str, str, str]:
    text = (action.help or "").partition(" [env var")[0] % vars(action)
    name = action.option_strings[-1] if action.option_strings else ""
    if action.nargs != 0:
        value = action.metavar or ("|".join(action.choices) if action.choices else None)
        name = f"{name} {value or action.dest.upper().replace('_', '-')}".strip()
    return f"`{name}`", _default(action), text.partition(" (default:")[0]


def _default(action: argparse.Action) -> str:
    value = action.default
    if action.nargs == 0:
        return "off"
    if value in (None, "", []) or value is argparse.SUPPRESS:
        return ""
    if isinstance(value, Path):  # a file of the package
        value = value.name
    return f"`{value}`"


def _exit_codes() -> str:
    table = _table(("command", *"01234"), EXIT_CODES)
    after = "Every command answers 2 to bad input and 130 to Ctrl-C.\n"
    return f"## Exit codes\n\n{table}\n{after}"


def _endings() -> str:
    rows = [(f"`{outcome}`", ENDINGS[outcome]) for outcome in OUTCOMES]
    return (
        "## How a turn ends\n\nAll but the first four are failures.\n\n"
        + _table(("kind", "what happened"), rows)
    ).rstrip() + "\n"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading)]
    lines += [[cell.replace("|", r"\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
