"""tokenswarm: load of coding agents on LLM endpoints, honestly measured.

The public face for a locustfile of one's own (docs/your-own-locustfile.md):

    from tokenswarm import CodingDeveloper, RateShape

and for a program that reads a run:

    from tokenswarm import open_run

Names are imported when they are first used: a program that reads ledgers needs no Locust, and
importing Locust patches the standard library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenswarm.measure.ledger import open_run
    from tokenswarm.shell.developer import CodingDeveloper
    from tokenswarm.shell.rate_shape import RateShape

__all__ = ["CodingDeveloper", "RateShape", "__version__", "open_run"]

_HOMES = {
    "CodingDeveloper": "tokenswarm.shell.developer",
    "RateShape": "tokenswarm.shell.rate_shape",
    "open_run": "tokenswarm.measure.ledger",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("tokenswarm")
    if name not in _HOMES:
        raise AttributeError(f"module 'tokenswarm' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
