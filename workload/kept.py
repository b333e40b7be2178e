"""What a simulation of a profile found, kept on disk: the next process need not simulate again.

A file's name is a hash of all that the finding depends on: what was asked, the profile, the code of
this room and NumPy's version. So nothing old is ever read, and there is no format to count up.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from platformdirs import user_cache_path

from workload.profile import Profile
from workload.whole_file import replace_file


def cache_folder() -> Path:
    """Where corpora and findings are kept: $TOKENSWARM_CACHE, else the user's cache folder."""
    if own := os.environ.get("TOKENSWARM_CACHE"):
        return Path(own)
    return user_cache_path("tokenswarm", appauthor=False)


def kept(what: str, profile: Profile, find: Callable[[], Any]) -> Any:
    """What `find` returns, as JSON has it; from disk where it was found before.

    what: names the finding. A folder that cannot be read or written costs time, nothing else.
    """
    key = f"{what}\0{profile!r}\0{_code()}\0{np.__version__}"
    path = cache_folder() / f"found-{hashlib.sha256(key.encode()).hexdigest()[:20]}.json"
    try:
        return orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        found = orjson.dumps(find(), option=orjson.OPT_SERIALIZE_NUMPY)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, found)
    except OSError:
        pass
    return orjson.loads(found)


@cache
def _code() -> str:
    """Of this room's modules: 35 small files, a millisecond."""
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()
