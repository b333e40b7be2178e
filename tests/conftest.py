"""Locust before anything else: it monkey-patches the standard library, as in a real run."""

import locust  # noqa: F401

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def corpus_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all processes of a test session: counting a corpus takes seconds."""
    shared = os.environ.get("TOKENSWARM_CACHE")  # by scripts/suite.py
    return Path(shared) if shared else tmp_path_factory.mktemp("cache")
