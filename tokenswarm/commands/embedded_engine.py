"""The embedded engine as a process of its own, for the other scripts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def engine(*options: str) -> Iterator[str]:
    """Its address, on a free port. options: as `tokenswarm engine` takes them."""
    command = [sys.executable, "-m", "tokenswarm", "engine", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if "http://" not in ready:
            raise SystemExit(f"the engine did not start: {ready.strip() or 'see above'}")
        print(ready.strip())
        try:
            yield next(word for word in ready.split() if word.startswith("http://"))
        finally:
            process.terminate()
