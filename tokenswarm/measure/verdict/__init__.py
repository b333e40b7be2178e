"""Verdict: whether a run can be trusted. VALID, SUSPECT or INVALID, and why.

It judges the generator and the measurement, never the endpoint: an engine that fails or crawls can
be measured validly. The verdict is the worst grade of its checks. A check that lacks what it needs
is not passed, it is *not checked*, and says why.
"""

from tokenswarm.measure.verdict.evidence import Evidence, kept_up
from tokenswarm.measure.verdict.grades import (
    GRADES,
    INVALID,
    SUSPECT,
    VALID,
    Check,
    Limits,
    Verdict,
)
from tokenswarm.measure.verdict.judge import judge

__all__ = [
    "Check",
    "Evidence",
    "GRADES",
    "INVALID",
    "Limits",
    "SUSPECT",
    "VALID",
    "Verdict",
    "judge",
    "kept_up",
]
