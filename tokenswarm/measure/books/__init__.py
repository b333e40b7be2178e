"""Books: what servers count of themselves, read, kept, and held against a run's own records."""

from tokenswarm.measure.books.names import ENGINES, QUANTITIES, Page, read_page
from tokenswarm.measure.books.reconcile import (
    BALANCED,
    EXPLAINED,
    FLAGGED,
    TOLERANCE,
    Entry,
    reconcile,
)
from tokenswarm.measure.books.series import Reading, SeriesWriter, read_series

__all__ = [
    "BALANCED",
    "ENGINES",
    "EXPLAINED",
    "Entry",
    "FLAGGED",
    "Page",
    "QUANTITIES",
    "Reading",
    "SeriesWriter",
    "TOLERANCE",
    "read_page",
    "read_series",
    "reconcile",
]
