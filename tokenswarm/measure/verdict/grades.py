"""Grades: what a check says of a run, and what all checks together do."""

from __future__ import annotations

from dataclasses import dataclass

VALID, SUSPECT, INVALID = "VALID", "SUSPECT", "INVALID"
GRADES = (VALID, SUSPECT, INVALID)  # from good to bad


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a figure makes a run suspect or invalid; None: never. `source` says who says so."""

    suspect: float | None
    invalid: float | None
    unit: str  # "s", "engine s", "share", or what is counted
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question to the run. grade None: not checked, `finding` says why."""

    name: str
    grade: str | None
    figure: float | None
    limits: Limits
    finding: str  # what was seen, a sentence without a full stop
    mend: str  # what to do about it


@dataclass(frozen=True, slots=True)
class Verdict:
    checks: tuple[Check, ...]

    @property
    def grade(self) -> str:
        """The worst of the checks."""
        grades = [check.grade for check in self.checks if check.grade is not None]
        return max(grades, key=GRADES.index, default=VALID)

    @property
    def reasons(self) -> list[Check]:
        """The checks that are not passed, the worst first."""
        return [check for grade in (INVALID, SUSPECT) for check in self._graded(grade)]

    @property
    def passed(self) -> list[Check]:
        return self._graded(VALID)

    @property
    def unchecked(self) -> list[Check]:
        return self._graded(None)

    def _graded(self, grade: str | None) -> list[Check]:
        return [check for check in self.checks if check.grade == grade]


def graded(
    name: str,
    figure: float | None,
    limits: Limits,
    finding: str,
    mend: str,
    unchecked: str = "unknown",
) -> Check:
    """The check's grade by its limits; without a figure it is not checked."""
    grade = None if figure is None else VALID
    if figure is not None and limits.suspect is not None and figure > limits.suspect:
        grade = SUSPECT
    if figure is not None and limits.invalid is not None and figure > limits.invalid:
        grade = INVALID
    said = unchecked if figure is None else finding
    return Check(name=name, grade=grade, figure=figure, limits=limits, finding=said, mend=mend)
