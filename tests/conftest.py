"""Locust before anything else: it monkey-patches the standard library, as in a real run."""

import locust  # noqa: F401
