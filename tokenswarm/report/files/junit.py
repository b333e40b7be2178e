"""JUnit: what a run was asked and how it answered, as continuous integration reads it.

One test case for each SLO at each level, for each limit against the baseline, and for the verdict.
A case that cannot be judged is skipped, with its reason.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as xml

from tokenswarm.measure.slo import Judgement
from tokenswarm.measure.verdict import INVALID
from tokenswarm.report.analysis.regression import regression_text
from tokenswarm.report.gate import Gate
from tokenswarm.report.notation import target_text
from tokenswarm.report.text.objectives import cell_text
from workload.whole_file import replacing

SUITE = "tokenswarm"


def write_junit(path: Path, gate: Gate) -> None:
    """Writes the file, replacing an earlier one. Raises OSError."""
    cases = [*_objectives(gate), *_limits(gate), *_stop(gate), _verdict(gate)]
    suite = xml.Element(
        "testsuite",
        name=SUITE,
        tests=str(len(cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
        skipped=str(sum(case.find("skipped") is not None for case in cases)),
        errors="0",
    )
    properties = xml.SubElement(suite, "properties")
    for name, value in (
        ("run", gate.result.ledger.header.run),
        ("target", target_text(gate.result.ledger.header)),
    ):
        xml.SubElement(properties, "property", name=name, value=value)
    suite.extend(cases)
    tree = xml.ElementTree(suite)
    xml.indent(tree)
    with replacing(path) as file:
        tree.write(file, encoding="utf-8", xml_declaration=True)


def _objectives(gate: Gate) -> list[xml.Element]:
    cases = []
    for row in gate.judgements:
        for step, judgement in zip(gate.result.steps, row, strict=True):
            cases.append(
                _case(
                    f"{SUITE}.slo",
                    f"{judgement.slo.text} at level {step.level.index}",
                    None if judgement.met is None else not judgement.met,
                    _seen(judgement),
                )
            )
    return cases


def _seen(judgement: Judgement) -> str:
    said = f"{cell_text(judgement)} over {judgement.samples} turns"
    return f"{said}: {judgement.reason}" if judgement.reason else said


def _limits(gate: Gate) -> list[xml.Element]:
    return [
        _case(
            f"{SUITE}.baseline",
            f"{found.limit.text} at {found.load}",
            found.fails,
            regression_text(found),
        )
        for found in gate.regressions
    ]


def _stop(gate: Gate) -> list[xml.Element]:
    """Only of a run that ended itself."""
    if not gate.stopped:
        return []
    return [_case(f"{SUITE}.run", "the run came to its end", True, gate.stopped)]


def _verdict(gate: Gate) -> xml.Element:
    verdict = gate.result.verdict
    reasons = "; ".join(check.finding for check in verdict.reasons) or verdict.grade
    return _case(f"{SUITE}.verdict", "the run is valid", verdict.grade == INVALID, reasons)


def _case(group: str, name: str, fails: bool | None, text: str) -> xml.Element:
    case = xml.Element("testcase", classname=group, name=name)
    if fails is None:
        xml.SubElement(case, "skipped", message=text)
    elif fails:
        xml.SubElement(case, "failure", message=text)
    else:
        xml.SubElement(case, "system-out").text = text
    return case
