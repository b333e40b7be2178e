"""Header: lines and query of the user's own, secrets by the name of a variable and no other way."""

from __future__ import annotations

import os
import re

from tokenswarm.client.headers import NAME, OWN, HeaderField
from tokenswarm.measure.amounts import OptionError

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
# Names under which credentials go; what they hold would stand in process lists and histories.
_SECRET = re.compile(r"auth|key|token|secret|cookie|passw|credential|signature|^sig$", re.I)
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*")


def read_header(text: str) -> HeaderField:
    """'Name: value', variables replaced. Raises OptionError, which never repeats the value."""
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon or not NAME.fullmatch(name):
        raise OptionError("--header: accepted is 'Name: value', the name as HTTP has it")
    if name.lower() in OWN:
        raise OptionError(f"--header {name!r}: tokenswarm writes it itself; accepted: others")
    option = f"--header '{name}: ...'"
    value, secrets = _filled(option, name, value)
    if not value or not (value.isascii() and value.isprintable()):
        raise OptionError(f"{option}: accepted is printable ASCII, at least one character")
    return HeaderField(name, value, secrets)


def read_query(text: str) -> tuple[str, tuple[str, ...]]:
    """The query of every call, and the secrets in it. Raises OptionError."""
    filled: list[str] = []
    secrets: list[str] = []
    for pair in filter(None, text.split("&")):
        name, _, value = pair.partition("=")
        value, found = _filled(f"--query '{name}=...'", name, value)
        if not _QUERY.fullmatch(name + value):
            raise OptionError(f"--query '{name}=...': accepted is name=value, %-encoded")
        filled.append(f"{name}={value}")
        secrets.extend(found)
    return "&".join(filled), tuple(secrets)


def read_header_name(option: str, name: str) -> str:
    """Raises OptionError."""
    if not NAME.fullmatch(name) or name.lower() in OWN:
        raise OptionError(f"{option} {name!r}: accepted is a header such as X-Session-ID")
    return name


def _filled(option: str, name: str, text: str) -> tuple[str, tuple[str, ...]]:
    """The value with its variables, and what these hold."""
    secrets: list[str] = []

    def held(found: re.Match[str]) -> str:
        variable = found[1] or found[2]
        value = os.environ.get(variable, "")
        if not value:
            raise OptionError(
                f"{option}: the variable {variable} is not set; accepted: one that is"
            )
        secrets.append(value)
        return value

    value = _VARIABLE.sub(held, text)
    if not secrets and _SECRET.search(name):
        raise OptionError(f"{option}: a secret is never an option; accepted: '$VARIABLE' in it")
    return value, tuple(secrets)
