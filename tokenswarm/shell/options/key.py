"""Key: the API key, from the environment and nowhere else."""

from __future__ import annotations

import os

from tokenswarm.measure.amounts import OptionError

# Read in this order; never an option, a page, a ledger or a message between processes.
API_KEY_VARIABLES = ("TOKENSWARM_API_KEY", "OPENAI_API_KEY")


def api_key() -> str | None:
    """None where no variable holds one. Raises OptionError, without the key, for one that no header
    can carry: a file read with its last newline, say."""
    for variable in API_KEY_VARIABLES:
        if key := os.environ.get(variable):
            if not (key.isascii() and key.isprintable()):
                raise OptionError(
                    f"{variable}: it holds a newline or another character that a header cannot "
                    "carry; accepted: printable ASCII"
                )
            return key
    return None
