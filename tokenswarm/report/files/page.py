"""Page: a run as one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.figure import Figure

from tokenswarm.measure.verdict import GRADES
from tokenswarm.measure.whole_file import replace_file
from tokenswarm.report.analysis.result import Result
from tokenswarm.report.figures.canvas import COLOURS, Drawing, drawn, look
from tokenswarm.report.figures.curves import CURVES
from tokenswarm.report.figures.distributions import DISTRIBUTIONS
from tokenswarm.report.figures.timeline import MOST_DOTS, NARROW, TIMELINE
from tokenswarm.report.notation import TOO_FEW, number_text, slo_text, tpm_text
from tokenswarm.report.text import bills, headline
from tokenswarm.report.text import verdict as verdict_text
from tokenswarm.report.text.definitions import DEFINITIONS
from tokenswarm.report.text.levels import notes
from tokenswarm.report.text.surroundings import surroundings
from tokenswarm.report.text.tables import checks, failures, levels, objectives, workload

_PREAMBLE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"')
_REFERENCE = re.compile(r'(\bid="|url\(#|href="#)')


def write_page(path: Path, found: Result, against: str = "") -> None:
    """Writes the file whole or not at all. Raises OSError."""
    replace_file(path, page(found, against).encode("utf-8", "replace"))


def page(found: Result, against: str = "") -> str:
    """The page's HTML; against: what a baseline said, a line each."""
    environment = Environment(
        loader=PackageLoader("tokenswarm.report.files"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        _contents(found), against=against.splitlines()
    )


def _contents(found: Result) -> dict[str, Any]:
    header, turns = found.ledger.header, len(found.ledger.records)
    with look():
        curves = [_picture(drawing, found) for drawing in CURVES] if turns else []
        timeline = [_picture(TIMELINE, found), _svg(TIMELINE, found, NARROW)] if turns else []
        distributions = [_picture(drawing, found) for drawing in DISTRIBUTIONS] if turns else []
    return {
        "run": header.run,
        "simulated": header.target.simulated,
        "headline": headline.headline(found),
        "details": headline.details(found),
        "tiles": _tiles(found),
        "verdict": found.verdict,
        "grades": GRADES,
        "verdict_text": verdict_text.headline(found.verdict),
        "sentence": verdict_text.sentence,
        "curves": curves,
        "timeline": timeline,
        "dots": f"{MOST_DOTS:,} of {turns:,} turns are drawn." if turns > MOST_DOTS else "",
        "distributions": distributions,
        "levels": levels(found),
        "objectives": objectives(found),
        "failures": failures(found),
        "workload": workload(found),
        "bills": bills.bills(found),
        "bill_sentences": bills.sentences(found),
        "checks": checks(found),
        "notes": notes(found.ledger, found.steps, found.whole),
        "surroundings": surroundings(found),
        "definitions": DEFINITIONS,
        "colours": COLOURS,
    }


def _tiles(found: Result) -> list[tuple[str, str, str]]:
    """(what, figure, beside it): the few numbers that a reader takes away."""
    knee, whole = found.curve.knee, found.whole
    tiles = [("turns", f"{whole.requests:,}", f"{whole.failed:,} failed")]
    if found.curve.capacities and found.curve.capacities[-1].tpm.value is not None:
        capacity = found.curve.capacities[-1]
        per_gpu = found.curve.per_gpu(capacity.tpm).value
        beside = " and ".join(map(slo_text, capacity.slos))
        if per_gpu is not None:
            beside += f"; {tpm_text(per_gpu)} per GPU"
        mark = "" if capacity.claimed else TOO_FEW
        tiles.insert(0, ("capacity, input TPM", tpm_text(capacity.tpm.value) + mark, beside))
    if knee.tpm.value is not None:
        beside = f"TTFT p50 {number_text(knee.ttft_p50_s)} s there"
        tiles.insert(1, ("knee, input TPM", tpm_text(knee.tpm.value), beside))
    if whole.new_tokens.mean is not None:
        beside = f"p50 {whole.new_tokens.p50:,.0f}: moves TTFT more than anything else"
        tiles.append(("new tokens per turn", f"{whole.new_tokens.mean:,.0f}", beside))
    return tiles


def _picture(drawing: Drawing, found: Result) -> dict[str, Any]:
    return {
        "title": drawing.title,
        "reading": drawing.reading,
        "svg": _svg(drawing, found, drawing.size_in),
    }


def _svg(drawing: Drawing, found: Result, size_in: tuple[float, float]) -> Markup:
    """Inline, in the page's colours, with ids of its own and its words for those who do not see."""
    figure = drawn(drawing, found, size_in)
    prefix = f"{drawing.name}-{size_in[1]:g}-".replace(".", "-")
    svg = _SIZE.sub(r"\1", _METADATA.sub("", _PREAMBLE.sub("", svg_text(figure))), count=1)
    svg = _REFERENCE.sub(rf"\g<1>{prefix}", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    label = Markup.escape(drawing.alt(found))
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


def svg_text(figure: Figure) -> str:
    """As a file; the same figure gives the same text."""
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
