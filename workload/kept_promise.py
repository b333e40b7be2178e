"""What a profile promises, kept on disk: two seconds of simulation before every run's traffic, and
the same numbers each time. Beside the corpora; whoever changes this package simulates anew."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path

import msgspec
import numpy as np
import orjson

from workload import fidelity
from workload.corpus import cache_folder
from workload.figures import Workload
from workload.profile import Profile
from workload.whole_file import replace_file


@lru_cache(maxsize=16)
def promise_of(profile: Profile) -> Workload:
    """`fidelity.workload` of scripted histories. A folder that cannot be written, or a file that is
    not one of these, costs the time and nothing else."""
    key = hashlib.sha256(f"{_code()}\0{profile!r}".encode()).hexdigest()[:20]
    path = cache_folder() / f"promise-{key}.json"
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Workload)
    found = fidelity.workload(profile)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, orjson.dumps(asdict(found)))
    return found


@cache
def _code() -> str:
    """Of everything that the simulation may go by."""
    digest = hashlib.sha256(np.__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
