"""Before traffic: does the endpoint answer, let us in, know the model; is it simulated?"""

from __future__ import annotations

from typing import Any

import orjson

from client import chat
from client.stream import ChatClient, RequestFailed
from locustfiles._options import API_KEY_VARIABLES, OptionError, Options
from measure.ledger import Target


class EndpointError(RuntimeError):
    """The endpoint cannot be used for this run. Says what was asked and what came back."""


def examine(client: ChatClient, options: Options) -> tuple[Target, float]:
    """The target and its speed (1 unless it is the embedded engine).

    Lists the models, then asks the chosen one for a single token: wrong keys and wrong names show
    here, on a request of a few tokens. Raises EndpointError.
    """
    status, models = _json(client, options, options.endpoint.path("/models"))
    if status in (401, 403):
        raise EndpointError(_key_refused(options, status))
    listed = _names(models) if status == 200 else []
    model = options.model or _only(listed, options)
    if options.model and listed and model not in listed:
        raise EndpointError(f"--model {model!r}: {options.endpoint} lists {', '.join(listed)}")
    _try_one_token(client, options, model)
    info = simulation(client, options)
    simulated = bool(info)
    target = Target(
        url=str(options.endpoint),
        model=model,
        engine=info["engine"] if simulated else None,
        simulated=simulated,
        gpus=options.gpus or (info.get("gpus") if simulated else None),
    )
    return target, float(info["speed"]) if simulated else 1.0


def simulation(client: ChatClient, options: Options) -> dict[str, Any]:
    """What the embedded engine says of itself; empty for every other endpoint."""
    _, info = _json(client, options, "/sim/info")
    return info if info.get("simulated") is True else {}


def _json(client: ChatClient, options: Options, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON object of a GET; an empty object where the body is something else."""
    try:
        status, _, body = client.get(path)
    except RequestFailed as failure:
        raise EndpointError(
            f"--host {options.endpoint}: {failure.kind}: {failure.detail}; accepted: the address "
            "of a running OpenAI-compatible server"
        ) from None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    return status, value if isinstance(value, dict) else {}


def _names(models: dict[str, Any]) -> list[str]:
    entries = models.get("data")
    if not isinstance(entries, list):
        return []
    return [e["id"] for e in entries if isinstance(e, dict) and isinstance(e.get("id"), str)]


def _only(listed: list[str], options: Options) -> str:
    if len(listed) == 1:
        return listed[0]
    seen = f"lists {', '.join(listed)}" if listed else "does not list its models"
    raise OptionError(f"--model is missing and {options.endpoint} {seen}; accepted: one name")


def _try_one_token(client: ChatClient, options: Options, model: str) -> None:
    body = [
        chat.opening(model, None, options.extra_body),
        b'{"role":"user","content":"ping"}',
        chat.closing(1),
    ]
    seen = client.send(body, sum(map(len, body)))
    if seen.outcome == "http_401":
        raise EndpointError(_key_refused(options, seen.status))
    if seen.outcome == "http_404":
        raise EndpointError(f"--model {model!r}: {options.endpoint} answers 404: {seen.detail}")
    # One token may well be an empty one, or the end: an empty answer is an answer.
    if seen.outcome not in ("ok", "empty"):
        raise EndpointError(
            f"{options.endpoint} did not answer a one-token request: {seen.outcome}: {seen.detail}"
        )


def _key_refused(options: Options, status: int | None) -> str:
    return (
        f"{options.endpoint} answers {status} to our API key; accepted: a valid key in the "
        f"environment variable {' or '.join(API_KEY_VARIABLES)}"
    )
