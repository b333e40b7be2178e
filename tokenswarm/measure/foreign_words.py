"""Foreign words: what servers and other people's ledgers say, made fit for terminals and tables."""

from __future__ import annotations


def one_line(text: str, most: int) -> str:
    """One line of at most so many characters, cut with an ellipsis. What cannot be printed is a
    space: a terminal may take it for a command."""
    # Enough of it for a line with as many spaces as words; a body may be of megabytes.
    printable = "".join(c if c.isprintable() else " " for c in text[: 2 * most])
    line = " ".join(printable.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def spelled_out(name: str) -> str:
    """A name as somebody is to type it: what cannot be printed as Python's escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
