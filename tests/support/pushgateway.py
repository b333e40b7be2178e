"""A real Pushgateway for tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.stack import START_TIMEOUT_S, until

BINARY = shutil.which("prometheus-pushgateway")

needs_gateway = pytest.mark.skipif(
    BINARY is None, reason="Debian's prometheus-pushgateway is not installed"
)


@contextmanager
def running_gateway(port: int, log: Path) -> Iterator[str]:
    """Its URL, while the block lasts."""
    assert BINARY is not None
    with log.open("ab") as out:
        process = subprocess.Popen(
            (BINARY, f"--web.listen-address=127.0.0.1:{port}"), stdout=out, stderr=out
        )
    try:
        assert until(lambda: _listens(port), START_TIMEOUT_S), log.read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
