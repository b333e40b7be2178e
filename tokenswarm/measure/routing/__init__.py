"""Routing: which replica served which turn, what that cost in cache, and by which policy."""

from tokenswarm.measure.routing.facts import Replica, Routing, routing
from tokenswarm.measure.routing.policy import POLICIES, Guess, Served, guess

__all__ = ["POLICIES", "Guess", "Replica", "Routing", "Served", "guess", "routing"]
