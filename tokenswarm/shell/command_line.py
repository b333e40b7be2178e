"""Command line: how a run was started, to stand in its report.

A report is passed on: what may hold a secret or a person's name stays out of it. The key is no
option, so it cannot be here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath

SECRET = ("--extra-body", "--header", "--query", "--web-login")  # their values may hold credentials
HIDDEN = "..."
_USER = re.compile(r"//[^/@\s]*@")


def command_line(argv: Sequence[str]) -> str:
    """The words as a shell takes them: the program by its name, absolute paths by their last part,
    no user in an address, and "..." for a value that may be secret."""
    words, hide = [PurePath(argv[0]).name] if argv else [], False
    if words and words[0] == "__main__.py":
        words = [PurePath(argv[0]).parent.name]
    for word in argv[1:]:
        option, equals, value = word.partition("=")
        if hide:
            words.append(HIDDEN)
        elif option in SECRET and equals:
            words.append(f"{option}={HIDDEN}")
        elif word.startswith("-") and equals:
            words.append(f"{option}={_shown(value)}")
        else:
            words.append(_shown(word))
        hide = word in SECRET
    return shlex.join(words)


def _shown(word: str) -> str:
    if word.startswith("/"):
        return ",".join(PurePath(part).name or part for part in word.split(","))
    return _USER.sub("//", word)
