"""Locust command lines of the deployment files, read by Locust's own parser with our options."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# A process of its own: the parser reads the environment and the working directory.
READ = """
import json, sys
from locust.argument_parser import get_parser
from tokenswarm.shell import wiring
parser = get_parser()
print(json.dumps({
    "options": vars(parser.parse_args(sys.argv[1:])),
    "variables": [a.env_var for a in parser._actions if getattr(a, "env_var", None)],
}, default=str))
"""


def parsed_locust(command: Sequence[str]) -> Namespace:
    """The options of `locust ...`. Fails where Locust would refuse them."""
    assert command[0] == "locust"
    options = Namespace(**_read(tuple(command[1:]))["options"])
    assert (ROOT / command[command.index("-f") + 1]).is_file()
    return options


def locust_variables() -> set[str]:
    """Environment variables that Locust and our options read."""
    return set(_read(())["variables"])


@cache
def _read(words: tuple[str, ...]) -> dict[str, Any]:
    shown = subprocess.run(
        (sys.executable, "-c", READ, *words),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.returncode == 0, shown.stderr
    read: dict[str, Any] = json.loads(shown.stdout)
    return read
