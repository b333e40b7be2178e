"""What others say, as it may be printed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.measure.foreign_words import one_line, spelled_out


@given(text=st.text(max_size=200), most=st.integers(1, 60))
def test_a_line_is_printable_short_and_has_no_two_spaces(text: str, most: int) -> None:
    line = one_line(text, most)
    assert line.isprintable() and len(line) <= most
    assert "  " not in line and line == line.strip()
    assert one_line(line, most) == line


def test_words_stay_and_commands_to_a_terminal_go() -> None:
    assert one_line("no\x1b[31m\r\n  such\u202e model", 40) == "no [31m such model"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("x" * 10_000_000, 3) == "xx…"


def test_a_name_is_spelled_out() -> None:
    assert spelled_out("kimi\x1b\n-k2") == "kimi\\x1b\\n-k2"
