"""Lead: asks the embedded engine to go on, in driven time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from tokenswarm.client.stream import ChatClient, RequestFailed
from tokenswarm.shell.keeper import Advanced, Broken, Keeper
from tokenswarm.shell.run_clock import DrivenClock

ADVANCE = "/sim/advance"


def lead(client: ChatClient, seed: int, on_broken: Callable[[str], None]) -> DrivenClock:
    """A clock at second 0, led over this client; seed: of the engine's chances; on_broken: told
    why when that is no longer possible. Raises Broken where the engine does not let itself be
    led."""
    run = _ask(client, {"begin": True, "seed": seed}).get("run")

    def advance(until_s: float | None, sent: int) -> Advanced:
        said = _ask(client, {"run": run, "until_s": until_s, "sent": sent})
        try:
            return Advanced(float(said["now_s"]), tuple(said["ended"]))
        except (KeyError, TypeError, ValueError):
            raise Broken(f"the engine answers {ADVANCE} with {said!r:.200}") from None

    def close() -> None:
        with suppress(Broken):  # it is gone, or has given us up
            _ask(client, {"run": run, "end": True})
        client.close()

    return DrivenClock(Keeper(advance, on_broken), str(run), close)


def _ask(client: ChatClient, question: dict[str, Any]) -> dict[str, Any]:
    """Raises Broken."""
    try:
        status, _, body = client.post(ADVANCE, orjson.dumps(question))
    except RequestFailed as failure:
        raise Broken(f"the engine is gone: {failure}") from None
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if status != 200 or not isinstance(said, dict):
        error = said.get("error") if isinstance(said, dict) else None
        message = error.get("message") if isinstance(error, dict) else None
        raise Broken(f"the engine answers {status} to {ADVANCE}: {message or 'no JSON object'}")
    return said
