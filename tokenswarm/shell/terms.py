"""Terms: what the master settles for all processes of a run; travels with Locust's options."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tokenswarm.measure.ledger import Target


@dataclass(frozen=True, slots=True)
class Terms:
    """profile: the value of --profile, an option that Locust keeps from its workers; name: folder
    under --runs; salt: "" under --warm; started_at: unix time of second 0; speed: engine seconds
    per wall second; open_mode: tickets instead of own pauses; driven: one virtual clock with the
    embedded engine; reasoning: histories carry the model's reasoning."""

    profile: str
    name: str
    salt: str
    started_at: float
    speed: float
    open_mode: bool
    target: Target
    driven: bool = False
    reasoning: bool = False

    def pack(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Terms:
        return cls(**{**packed, "target": Target(**packed["target"])})
