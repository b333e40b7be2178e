"""Coding developers against an OpenAI-compatible endpoint.

    locust -f locustfiles/coding_agents.py --host http://127.0.0.1:8000            # web UI
    locust -f locustfiles/coding_agents.py --host ... --headless -u 24 -r 2 -t 10m # closed mode
    locust -f locustfiles/coding_agents.py --host ... --headless -t 10m --tpm 2.5M

Closed mode: -u developers follow their own pauses and TPM emerges. Open mode (--tpm): tickets keep
input tokens on the target line, with at most -u sessions at once (--max-developers, where -u does
not say it).
"""

from tokenswarm import CodingDeveloper as _Developer

__all__ = ["CodingDeveloper"]


class CodingDeveloper(_Developer):
    """As it is."""
