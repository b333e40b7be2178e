"""Who may ask a driven engine for what, and what becomes of one whose generator is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.engine.server import lead as leads
from tokenswarm.engine.server.clock import VirtualClock
from tokenswarm.engine.server.errors import ApiError
from tokenswarm.engine.server.lead import FreeSeat, Lead, LedSeat
from tokenswarm.engine.server.live import LiveEngine
from tokenswarm.engine.server.metrics import EngineMetrics

PRESET = PRESETS["trtllm-like"]


def with_lead(scenario: Callable[[Lead, LiveEngine], Awaitable[None]]) -> None:
    async def run() -> None:
        metrics = EngineMetrics("m", "e")
        live = LiveEngine(PRESET.fleet(1), VirtualClock(1), metrics)
        lead = Lead(lambda seed: PRESET.fleet(seed or 0), metrics)
        try:
            await scenario(lead, live)
        finally:
            lead.close()

    asyncio.run(run())


def refusal(error: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return error.value.status, str(error.value)


def test_before_and_after_a_run_it_goes_by_the_wall_clock():
    async def scenario(lead: Lead, live: LiveEngine) -> None:
        assert isinstance(lead.seat({}, live), FreeSeat)
        begun = await lead.ask({"begin": True})
        assert begun["now_s"] == 0.0 and lead.engine is not None
        assert await lead.ask({"run": begun["run"], "end": True}) == {}
        assert lead.engine is None and isinstance(lead.seat({}, live), FreeSeat)

    with_lead(scenario)


def test_a_strangers_request_is_refused_while_a_run_is_on():
    async def scenario(lead: Lead, live: LiveEngine) -> None:
        run = (await lead.ask({"begin": True}))["run"]
        with pytest.raises(ApiError) as error:
            lead.seat({}, live)
        assert refusal(error)[0] == 503 and "is driven by a run of tokenswarm" in refusal(error)[1]
        assert error.value.headers == {"retry-after": "5"}
        mine = lead.seat({"x-sim-order": f"{run}/0"}, live)
        assert isinstance(mine, LedSeat)
        with pytest.raises(ApiError) as error:
            lead.seat({"x-sim-order": "other/0"}, live)
        assert refusal(error)[0] == 409
        with pytest.raises(ApiError) as error:
            lead.seat({"x-sim-order": f"{run}/first"}, live)
        assert refusal(error)[0] == 400
        with pytest.raises(ApiError) as error:
            await lead.ask({"begin": True})
        assert refusal(error) == (409, "another run drives this engine's clock")

    with_lead(scenario)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"run": "?", "until_s": 1.0, "sent": 0}, 409),
        ({"until_s": "soon", "sent": 0}, 400),
        ({"until_s": 1.0, "sent": 0.5}, 400),
        ({"until_s": 1.0}, 400),
        ({"until_s": None, "sent": 0}, 409),  # nothing is under way
    ],
)
def test_a_question_that_makes_no_sense_is_refused(asked, status):
    async def scenario(lead: Lead, live: LiveEngine) -> None:
        begun = await lead.ask({"begin": True})
        with pytest.raises(ApiError) as error:
            await lead.ask({"run": begun["run"]} | asked)
        assert refusal(error)[0] == status

    with_lead(scenario)


def test_a_dead_generators_lease_runs_out(monkeypatch):
    monkeypatch.setattr(leads, "LEASE_S", 0.02)

    async def scenario(lead: Lead, live: LiveEngine) -> None:
        run = (await lead.ask({"begin": True}))["run"]
        for _ in range(3):  # one that asks keeps it
            await asyncio.sleep(0.01)
            assert await lead.ask({"run": run, "until_s": 1.0, "sent": 0}) == {
                "now_s": 1.0,
                "ended": (),
            }
        await asyncio.sleep(0.2)
        assert lead.engine is None and isinstance(lead.seat({}, live), FreeSeat)
        with pytest.raises(ApiError) as error:
            await lead.ask({"run": run, "until_s": 2.0, "sent": 0})
        assert refusal(error)[1] == "this run is not on: its lease is over, or it never was"

    with_lead(scenario)
