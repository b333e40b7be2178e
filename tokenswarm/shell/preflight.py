"""Before traffic: does the endpoint answer, let us in, take our requests; is it simulated?"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from tokenswarm.client.agent import Lineage
from tokenswarm.client.dialects import DIALECTS
from tokenswarm.client.headers import Identity
from tokenswarm.client.observation import Observation
from tokenswarm.client.stream import ChatClient, RequestFailed
from tokenswarm.measure.foreign_words import spelled_out
from tokenswarm.measure.ledger import Target
from tokenswarm.shell.options import API_KEY_VARIABLES, OptionError, Options
from workload.corpus import ToolCall
from workload.source import Source

logger = logging.getLogger("tokenswarm")

# Beyond it the run's seconds would soon be no number; the embedded engine takes far less (guess).
_MAX_SPEED = 1e6
_KEY_REFUSED = (401, 403)
# 503: llama.cpp while it loads; 502 and 504: a gateway whose server is not there yet.
_NOT_YET = (502, 503, 504)
_NOBODY = ("connect", "connect_timeout")
_TOOL = (
    b'{"type":"function","function":{"name":"ping","description":"Ping",'
    b'"parameters":{"type":"object","properties":{}}}}'
)
# vLLM leaves them out of a request that hit nothing, as this one may: no more than a hint.
_NO_CACHED_TOKENS = (
    "%s did not say how many tokens of a first short prompt came from its cache. Where the hit "
    "column stays empty, start vLLM with --enable-prompt-tokens-details, SGLang with "
    "--enable-cache-report (docs/endpoints.md)"
)
_TOOL_CHOICE = re.compile(r"tool[ _-]?choice", re.IGNORECASE)
_CALL_ID = b"p1ngp1ng0"  # nine letters and digits, as the traffic's
# Kimi: "thinking is enabled but reasoning_content is missing in assistant tool call message …".
_REASONING_MISSING = re.compile(r"reasoning(_content)?\W+is\W+(missing|required)", re.IGNORECASE)
_REASONING_FOUND = (
    "%s refuses a tool call in the history without the model's reasoning (%s): histories carry "
    "scripted reasoning (--history-reasoning on)"
)


class EndpointError(RuntimeError):
    """The endpoint cannot be used for this run. Says what was asked and what came back."""


class NotReady(EndpointError):
    """Nobody listens there yet, or somebody says that it is not ready: it may come to be."""


class Examined(NamedTuple):
    """What a look at the endpoint found."""

    target: Target
    speed: float  # engine seconds per wall second; 1 unless it is the embedded engine
    driven: bool = False  # the embedded engine's clock goes on as the generator says
    reports_cached: bool = False  # the try-out's usage said how much of its prompt was cached
    reasoning: bool = False  # histories carry the model's reasoning


def examine(client: ChatClient, options: Options, source: Source) -> Examined:
    """What is to be known of the endpoint before traffic.

    Lists the models, compares the context length with the prompts to come, then asks the chosen
    model for a single token behind a short history with a tool's call and result, in a request
    like those of the traffic: what is refused is refused here, on a few tokens. Raises
    EndpointError, NotReady where it may pass, or OptionError where --model is needed.
    """
    status, listing = _json(client, options, options.endpoint.path("/models"))
    if status in _KEY_REFUSED and not options.model:
        raise EndpointError(_key_refused(options, status))
    if status in _NOT_YET and not options.model:
        raise NotReady(f"{options.endpoint} answers {status} to GET /models")
    models = _models(listing) if status == 200 else {}
    model = options.model or _only(list(models), options)
    if models and model not in models:
        raise EndpointError(f"--model {model!r}: {options.endpoint} lists {_listed(models)}")
    if not model.isprintable():  # it is printed wherever results are
        raise EndpointError(f"--model {model!r}: a name that cannot be printed")
    _check_context(models.get(model, {}), model, options, source)
    answer, reasoning = _rehearse(client, options, model)
    info = {} if answer.sim_speed is None else simulation(client, options)
    target = Target(
        url=str(options.endpoint),
        model=model,
        engine=info.get("engine") or options.target_name,
        simulated=bool(info),
        gpus=options.gpus or info.get("gpus"),
    )
    reports_cached = answer.cached_tokens is not None
    if not reports_cached and not info:
        logger.warning(_NO_CACHED_TOKENS, options.endpoint)
    return Examined(
        target,
        float(info.get("speed", 1.0)),
        info.get("clock") == "driven",
        reports_cached,
        reasoning,
    )


def simulation(client: ChatClient, options: Options, last_s: float | None = None) -> dict[str, Any]:
    """What the embedded engine says of itself. last_s: its lateness over so many wall seconds,
    else since its start. Raises EndpointError where it does not."""
    path = "/sim/info" if last_s is None else f"/sim/info?last_s={last_s:.3f}"
    status, info = _json(client, options, path)
    if status != 200 or info.get("simulated") is not True or not _describes_itself(info):
        raise EndpointError(
            f"--host {options.endpoint} answers with x-sim-speed, as the embedded engine does, and "
            f"{status} without a description to GET /sim/info; accepted: the engine's own address"
        )
    return info


def _describes_itself(info: dict[str, Any]) -> bool:
    """Whether what the ledger takes from it is there and of the types that a ledger holds."""
    engine, gpus = info.get("engine"), info.get("gpus")
    lateness = (info.get("lateness_p99_s"), info.get("arrival_lateness_p99_s"))
    return (
        isinstance(engine, str)
        and engine.isprintable()
        and (_positive(info.get("speed")) or math.inf) <= _MAX_SPEED
        and (gpus is None or (isinstance(gpus, int) and _positive(gpus) is not None))
        and all(late in (None, 0) or _positive(late) is not None for late in lateness)
    )


def _json(client: ChatClient, options: Options, path: str) -> tuple[int, dict[str, Any]]:
    """Status and JSON object of a GET; an empty object where the body is something else."""
    try:
        status, _, body = client.get(path)
    except RequestFailed as failure:
        raise (NotReady if failure.kind in _NOBODY else EndpointError)(
            f"--host {options.endpoint}: {failure.kind}: {failure.detail}; accepted: the address "
            "of a running OpenAI-compatible server"
        ) from None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    return status, value if isinstance(value, dict) else {}


def _models(listing: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is said of each model that is listed, by name."""
    entries = listing.get("data")
    if not isinstance(entries, list):
        return {}
    return {e["id"]: e for e in entries if isinstance(e, dict) and isinstance(e.get("id"), str)}


def _only(listed: list[str], options: Options) -> str:
    if len(listed) == 1:
        return listed[0]
    seen = f"lists {_listed(listed)}" if listed else "does not list its models"
    raise OptionError(f"--model is missing and {options.endpoint} {seen}; accepted: one name")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(spelled_out, names))


def _check_context(said: dict[str, Any], model: str, options: Options, source: Source) -> None:
    """Refuses a model too short for every prompt, warns of one too short for the longest."""
    limit = _context_tokens(said)
    if limit is None:
        return
    if limit < source.min_prompt_tokens:
        raise EndpointError(
            f"{options.asked_source}: its smallest prompt is {source.min_prompt_tokens:,} "
            f"tokens, and {model} takes {limit:,}; accepted: one with shorter prompts, such as "
            f"agent-32k or agent-128k, or this one with --fit-context {limit:.0f}"
        )
    if limit < source.max_prompt_tokens + source.max_output_tokens:
        logger.warning(
            "%s: prompts of up to %s tokens and %s of output; %s takes %s in all: "
            "longer turns will fail with context_overflow; --fit-context %.0f scales the profile, "
            "agent-32k and agent-128k are shorter",
            options.asked_source,
            f"{source.max_prompt_tokens:,}",
            f"{source.max_output_tokens:,}",
            model,
            f"{limit:,}",
            limit,
        )


def _context_tokens(said: dict[str, Any]) -> float | None:
    """Most tokens of prompt and output together: vLLM's, SGLang's and our engine's max_model_len,
    llama.cpp's meta.n_ctx. None where it is not said."""
    meta = said.get("meta")
    limit = _positive(said.get("max_model_len"))
    if limit is None and isinstance(meta, dict):
        limit = _positive(meta.get("n_ctx"))
    return limit


def _positive(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if number and 0 < value < math.inf else None


def _rehearse(client: ChatClient, options: Options, model: str) -> tuple[Observation, bool]:
    """A short history with a tool's call and result, and one token asked for; whether histories
    are to carry reasoning, which `auto` tries where one without is refused. Raises
    EndpointError."""
    reasoning = options.history_reasoning == "on"
    seen = _send_history(client, options, model, reasoning=reasoning)
    first_detail = seen.detail
    if _wants_reasoning(seen) and options.history_reasoning == "auto":
        reasoning = True
        seen = _send_history(client, options, model, reasoning=True)
    # One token may well be an empty one, or the end: an empty answer is an answer.
    if seen.outcome in ("ok", "empty", "withheld"):
        if reasoning and options.history_reasoning == "auto":
            logger.warning(_REASONING_FOUND, options.endpoint, first_detail)
        return seen, reasoning
    if seen.status in _KEY_REFUSED:
        raise EndpointError(_key_refused(options, seen.status))
    if seen.status is not None and 400 <= seen.status < 500:
        raise EndpointError(_request_refused(options, model, seen))
    not_yet = seen.status in _NOT_YET or seen.outcome in _NOBODY
    raise (NotReady if not_yet else EndpointError)(
        f"{options.endpoint} did not answer a one-token request: {seen.outcome}: {seen.detail}"
    )


def _send_history(
    client: ChatClient, options: Options, model: str, *, reasoning: bool
) -> Observation:
    """As the traffic's: its dialect, fields, headers and tool-call ids."""
    dialect = DIALECTS[options.api]
    frames = dialect.frames
    least = 1 if options.min_tokens else None
    call = frames.call(_CALL_ID, ToolCall("ping", b"{}", b"{}", 0))
    result = frames.result(_CALL_ID)
    lineage = Lineage("preflight")
    thought = [memoryview(b"I ping.")] if reasoning else []
    end = result.marked_end if frames.marks else result.end
    body = [
        dialect.opening(
            model,
            (_TOOL,),
            b"You ping.",
            options.extra_body,
            session=lineage.session,
            agent=options.agent,
        ),
        frames.user.begin + b"ping" + frames.user.end,
        *frames.reply_pieces(thought, [], call),
        b"," + result.begin + b"pong" + end,
        dialect.closing(1, min_tokens=least, field=options.output_field),
    ]
    identity = Identity(options.identify(lineage))
    return client.send(body, sum(map(len, body)), identity=identity)


def _wants_reasoning(seen: Observation) -> bool:
    refused = seen.status is not None and 400 <= seen.status < 500
    return refused and _REASONING_MISSING.search(seen.detail) is not None


def _request_refused(options: Options, model: str, seen: Observation) -> str:
    """Its detail begins with the status."""
    detail = seen.detail
    refusal = f"--model {model!r}: {options.endpoint} refuses a one-token request: {detail}"
    # vLLM: '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'.
    if _TOOL_CHOICE.search(detail) and "tool_choice" not in options.extra_body:
        return f"""{refusal}; --extra-body '{{"tool_choice":"none"}}' avoids it"""
    # OpenAI: "Unsupported parameter: 'max_tokens' … Use 'max_completion_tokens' instead."
    if "max_completion_tokens" in detail and options.output_field == "max_tokens":
        return f"{refusal}; --output-field max_completion_tokens avoids it"
    if _wants_reasoning(seen) and options.history_reasoning == "off":
        return f"{refusal}; --history-reasoning on avoids it"
    return refusal


def _key_refused(options: Options, status: int | None) -> str:
    return (
        f"{options.endpoint} answers {status} to our API key; accepted: a valid key in the "
        f"environment variable {' or '.join(API_KEY_VARIABLES)}"
    )
