import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.client.sse import EventTooLarge, SseDecoder

LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b"data:",
        b": ping",
        b"event: x",
        b"id:1",
        b"",
        b"",
        b"data:  c",
    ]
    + ["data: \u2028\u0085\x0b\x0c\x1c é".encode(), b"\xef\xbb\xbfdata: bom", b"datax: no"]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]))).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


def events(*chunks: bytes) -> list[bytes]:
    decoder = SseDecoder()
    return [p for chunk in chunks for p in decoder.decode(chunk)] + decoder.flush()


@given(STREAMS | st.binary(), st.lists(st.integers(0, 400)))
def test_the_events_do_not_depend_on_where_the_bytes_were_split(stream, cuts):
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    chunks = [stream[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    assert events(*chunks) == events(stream)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\r\n\r\ndata: b\r\r", [b"a", b"b"]),
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b": ping\n\ndata: a\n: ping\nid: 3\n\n", [b"a"]),
        (b"event: x\n\n\n\n", []),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"data\n\n", [b""]),
        (b"data:  two spaces\n\n", [b" two spaces"]),
    ],
)
def test_fields_and_line_ends_of_the_standard(stream, expected):
    assert events(stream) == expected


def test_unicode_line_separators_are_text():
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg".encode()
    assert events(b"data: " + text + b"\n\n") == [text]


def test_an_event_is_known_as_soon_as_its_blank_line_has_come():
    decoder = SseDecoder()
    assert decoder.decode(b"data: a\r\n") == []
    assert decoder.decode(b"\r") == [b"a"]
    assert decoder.decode(b"\ndata: b\n\n") == [b"b"]


def test_the_last_event_may_lack_its_blank_line():
    decoder = SseDecoder()
    assert decoder.decode(b"data: [DONE]") == []
    assert decoder.flush() == [b"[DONE]"]


@pytest.mark.parametrize("piece", [b"data: xxxx", b"data: xxxx\n", b"event: xxxx"])
def test_an_event_without_an_end_is_refused_and_not_kept(piece):
    decoder = SseDecoder(max_event_bytes=1000)
    with pytest.raises(EventTooLarge):
        for _ in range(1000):
            decoder.decode(piece)


def test_many_comments_do_not_add_up_to_a_large_event():
    decoder = SseDecoder(max_event_bytes=1000)
    for _ in range(1000):
        assert decoder.decode(b": ping\n\n") == []
