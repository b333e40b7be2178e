"""One stack of processes for each module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, corpus_cache: Path) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack"), corpus_cache)
    yield stack
    stack.close()
