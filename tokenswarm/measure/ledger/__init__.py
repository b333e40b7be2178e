"""The ledger of a run: its format, writing, reading, and uniting the files of one run."""

from tokenswarm.measure.ledger.format import FORMAT, Header, Ledger, LedgerError, Target
from tokenswarm.measure.ledger.read import read
from tokenswarm.measure.ledger.unite import moved, open_run, read_header, read_run
from tokenswarm.measure.ledger.write import TURN_FIELDS, LedgerWriter

__all__ = [
    "FORMAT",
    "Header",
    "Ledger",
    "LedgerError",
    "LedgerWriter",
    "TURN_FIELDS",
    "Target",
    "moved",
    "open_run",
    "read",
    "read_header",
    "read_run",
]
