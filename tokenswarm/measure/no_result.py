"""No result: when a level's figures say nothing of the endpoint's capacity.

Turns that are refused are quick and leave the others an idle engine, and a level that fell far
behind was not the one that its name says. One number, one place: the verdict, the gate, the
capacity of a ladder and the search all ask here.
"""

from __future__ import annotations

from tokenswarm.measure.tally import Summary

# A gateway that drops one turn in a hundred is measured all the same; published failure shares of
# language model services are 1.8% to 7.3% (BurstGPT, github.com/HPMLL/BurstGPT). Guess.
MAX_FAILED_SHARE = 0.1
# Far more than chance moves a level of a few dozen turns, whose prompts vary by a third (guess).
LEAST_ACHIEVED_SHARE = 0.7


def fails_too_often(summary: Summary) -> bool:
    return (summary.failure_share or 0.0) > MAX_FAILED_SHARE


def no_result(summary: Summary) -> str:
    """Why the figures of a window are none of a capacity; empty where they are."""
    if fails_too_often(summary):
        return f"{summary.failure_share:.0%} of its turns failed"
    offered_tpm, achieved_tpm = summary.offered_tpm or 0.0, summary.achieved_tpm or 0.0
    if achieved_tpm < LEAST_ACHIEVED_SHARE * offered_tpm:
        return f"{achieved_tpm / offered_tpm:.0%} of what was offered came"
    return ""
