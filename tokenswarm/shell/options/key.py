"""Key: the API key, from the environment and nowhere else."""

from __future__ import annotations

import os

# Read in this order; never an option, a page, a ledger or a message between processes.
API_KEY_VARIABLES = ("TOKENSWARM_API_KEY", "OPENAI_API_KEY")


def api_key() -> str | None:
    return next(filter(None, map(os.environ.get, API_KEY_VARIABLES)), None)
