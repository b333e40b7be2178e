"""Svg: figures inside a page, in its colours, light and dark."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any, TypeVar

from markupsafe import Markup
from matplotlib.figure import Figure

from tokenswarm.report.figures.canvas import COLOURS, Drawing, drawn

T = TypeVar("T")

_PREAMBLE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"')
_REFERENCE = re.compile(r'(\bid="|url\(#|href="#)')


def picture(drawing: Drawing[T], found: T, colours: Mapping[str, str] = COLOURS) -> dict[str, Any]:
    """Title, how to read it, and the picture."""
    return {
        "title": drawing.title,
        "reading": drawing.reading,
        "svg": inline(drawing, found, drawing.size_in, colours),
    }


def inline(
    drawing: Drawing[T],
    found: T,
    size_in: tuple[float, float],
    colours: Mapping[str, str] = COLOURS,
) -> Markup:
    """With ids of its own and its words for those who do not see. colours: by the name of the
    page's CSS variable that stands for it. Call it inside `look()`."""
    figure = drawn(drawing, found, size_in)
    prefix = f"{drawing.name}-{size_in[1]:g}-".replace(".", "-")
    svg = _SIZE.sub(r"\1", _METADATA.sub("", _PREAMBLE.sub("", svg_text(figure))), count=1)
    svg = _REFERENCE.sub(rf"\g<1>{prefix}", svg)
    for name, colour in colours.items():
        svg = svg.replace(colour, f"var(--{name})")
    label = Markup.escape(drawing.alt(found))
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def svg_text(figure: Figure) -> str:
    """As a file; the same figure gives the same text."""
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
