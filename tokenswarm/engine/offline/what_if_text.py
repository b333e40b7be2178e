"""Change: one what-if as people write it: `decode-attention-speed=1.35,acceptance=0.8`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

from tokenswarm.engine.core.router import Routing
from tokenswarm.engine.core.scheduler import Mode
from tokenswarm.engine.core.speculation import Meaning
from tokenswarm.engine.offline.sweep import Case
from tokenswarm.engine.offline.traffic import History
from tokenswarm.engine.physics.hardware import GPUS
from tokenswarm.engine.physics.kv_pool import Attention
from tokenswarm.engine.physics.what_if import WhatIf
from tokenswarm.measure.amounts import OptionError, parse_tokens
from workload.profile import Profile, ProfileError
from workload.source import Source

Parse = Callable[[str, str], Any]


def changed(case: Case, text: str) -> Case:
    """The case with these changes, labelled with them. Raises OptionError."""
    given: dict[str, Any] = {}
    for part in text.split(","):
        field, value = _read(part)
        if field in given:
            raise OptionError(f"{text!r}: {part.strip()!r} is the second of its name")
        given[field] = value
    workload = {name: given.pop(name) for name in _WORKLOAD if name in given}
    try:
        preset = WhatIf(**given).apply(case.preset)
        source = _grown(case.source, workload.get("growth_tokens"))
        load = replace(case.load, history=workload.get("history", case.load.history))
    except (ValueError, ProfileError) as error:
        raise OptionError(f"{text!r}: {error}") from None
    return replace(case, label=text, preset=preset, source=source, load=load)


def described() -> str:
    """Every parameter, for the help."""
    return "; ".join(f"{name}={accepted}" for name, (_, accepted, _) in _PARAMETERS.items())


def _grown(source: Source, growth_tokens: int | None) -> Source:
    """New tokens per turn scaled to this mean, the shape kept."""
    if growth_tokens is None:
        return source
    if not isinstance(source, Profile):
        raise ValueError("growth-tokens: a trace has its own; accepted with a profile alone")
    if growth_tokens >= source.max_prompt_tokens:
        raise ValueError(
            f"growth-tokens: accepted are less than the longest prompt, {source.max_prompt_tokens}"
        )
    factor = growth_tokens / source.growth_tokens.mean
    return replace(source, growth_tokens=source.growth_tokens.scaled(factor))


def _read(part: str) -> tuple[str, Any]:
    name, equals, value = (word.strip() for word in part.partition("="))
    if name not in _PARAMETERS or not equals:
        raise OptionError(
            f"what-if {part.strip()!r}: accepted are NAME=VALUE, several joined by commas, with "
            f"{described()}"
        )
    field, accepted, parse = _PARAMETERS[name]
    try:
        return field, parse(name, value)
    except ValueError:
        raise OptionError(f"what-if {part.strip()!r}: accepted is {name}={accepted}") from None


def _factor(name: str, text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def _share(name: str, text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _tokens_or_none(name: str, text: str) -> int:
    return 0 if text.strip() == "0" else parse_tokens(name, text)


def _count(name: str, text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _one_of(*accepted: str) -> Parse:
    def parse(name: str, text: str) -> str:
        if text not in accepted:
            raise ValueError
        return text

    return parse


def _switch(name: str, text: str) -> bool:
    return {"on": True, "off": False}[_one_of("on", "off")(name, text)]


def _choice(kind: Any) -> tuple[str, Parse]:
    accepted = get_args(kind)
    return "|".join(accepted), _one_of(*accepted)


_WORKLOAD = ("growth_tokens", "history")
# On the command line: field of WhatIf or of the workload, what is accepted, how it is read.
_PARAMETERS: dict[str, tuple[str, str, Parse]] = {
    "decode-attention-speed": ("decode_attention_speed", "FACTOR", _factor),
    "prefill-attention-speed": ("prefill_attention_speed", "FACTOR", _factor),
    "decode-speed": ("decode_speed", "FACTOR", _factor),
    "prefill-speed": ("prefill_speed", "FACTOR", _factor),
    "acceptance": ("acceptance", "SHARE", _share),
    "meaning": ("meaning", *_choice(Meaning)),
    "drafts": ("drafts", "NUMBER", _count),
    "kv-tokens": ("kv_tokens", "TOKENS", parse_tokens),
    "host-kv-tokens": ("host_kv_tokens", "TOKENS|0", _tokens_or_none),
    "chunk-tokens": ("chunk_tokens", "TOKENS", parse_tokens),
    "gpu": ("gpu", "|".join(GPUS), _one_of(*GPUS)),
    "gpus": ("gpus", "NUMBER", _count),
    "attention": ("attention", *_choice(Attention)),
    "replicas": ("replicas", "NUMBER", _count),
    "router": ("routing", *_choice(Routing)),
    "ranks": ("ranks", "NUMBER", _count),
    "scheduling": ("mode", *_choice(Mode)),
    "prefix-cache": ("prefix_cache", "on|off", _switch),
    "growth-tokens": ("growth_tokens", "TOKENS", parse_tokens),
    "history": ("history", *_choice(History)),
}
