"""A ladder of TPM levels, then a drain so that no turn under way is lost.

    locust -f locustfiles/tpm_ladder.py --host http://127.0.0.1:8000 --headless \\
        --levels 0.5M,1M,1.5M,2M,2.5M,3M --hold 8m
"""

from tokenswarm import CodingDeveloper as _Developer
from tokenswarm.shell.tpm_ladder import TpmLadder

__all__ = ["CodingDeveloper", "TpmLadder"]


class CodingDeveloper(_Developer):
    """As it is."""
