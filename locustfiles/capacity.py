"""Looks for the highest TPM that meets the --slo's, while traffic runs.

    locust -f locustfiles/capacity.py --host http://127.0.0.1:8000 --headless \\
        --slo 'ttft_p50<1s' --slo 'failures<1%' --tolerance 10%

From --search-from it doubles until a level misses, then halves the distance until the capacity is
known within --tolerance. A level lasts --hold, or longer where its percentiles need more turns;
after each the turns under way are waited for, so that every turn counts and the next level begins
with an empty queue.
"""

from tokenswarm import CodingDeveloper as _Developer
from tokenswarm.shell.capacity_search import CapacitySearch

__all__ = ["CapacitySearch", "CodingDeveloper"]


class CodingDeveloper(_Developer):
    """As it is."""
