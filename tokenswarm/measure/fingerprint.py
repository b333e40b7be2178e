"""Fingerprint: what must be equal before two runs may be compared or merged."""

from __future__ import annotations

from dataclasses import dataclass, fields

MODES = ("developers", "tpm")
HISTORIES = ("scripted", "echo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The workload of a run. Raises ValueError for an unknown mode or history."""

    profile: str
    profile_hash: str
    seed: int
    corpus_hash: str
    tokenizer: str
    mode: str  # one of MODES
    history: str = "scripted"  # one of HISTORIES: whose replies the prompts carry
    reasoning: bool = False  # tool calls in the history carry some
    api: str = "chat"  # what was spoken; earlier versions knew no other
    agent: str = "plain"  # whose requests they were like
    version: str  # of tokenswarm

    def __post_init__(self) -> None:
        for name, value, accepted in (
            ("mode", self.mode, MODES),
            ("history", self.history, HISTORIES),
        ):
            if value not in accepted:
                raise ValueError(f"{name} {value!r} is not one of {', '.join(accepted)}")

    def differences(self, other: Fingerprint) -> list[str]:
        """One line for each field that differs ("seed: 1 against 2"); empty when comparable."""
        return [
            f"{field.name}: {mine} against {theirs}"
            for field in fields(self)
            if (mine := getattr(self, field.name)) != (theirs := getattr(other, field.name))
        ]
