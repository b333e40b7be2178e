"""`tokenswarm engine --port P`: the embedded simulated endpoint as a process of its own."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import uvicorn

from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.core.router import ROUTINGS
from tokenswarm.engine.physics.presets import DEFAULT_PRESET, PRESETS, Preset
from tokenswarm.engine.physics.what_if import LEAST_KV_TOKENS, WhatIf
from tokenswarm.engine.server.app import EngineApp
from tokenswarm.engine.server.prompt_tokens import TokenCounter
from tokenswarm.engine.server.protocol import Protocol
from tokenswarm.engine.server.reply_text import EFFORTS
from tokenswarm.engine.server.settings import Settings
from tokenswarm.exit_codes import BAD_INPUT
from tokenswarm.measure.amounts import OptionError, parse_tokens
from workload.tokens import (
    EMBEDDED,
    GENERATION_PROMPT_TOKENS,
    TokenizerError,
    count_message,
    count_tools,
    load_tokenizer,
)

API_KEY_VARIABLE = "TOKENSWARM_ENGINE_API_KEY"
# uvicorn's 5 s would close connections within a developer's median gap of 6 s; nginx's default.
_KEEP_ALIVE_S = 75
# Streams under way at a signal may end for so long: the time that Kubernetes gives a pod.
_LAST_STREAMS_S = 30
_FAILED_STREAMS_S = 1  # of an engine that has died: they will not end
_GC_THRESHOLD = 100_000  # new objects between two collections, 700 by default; guess
_MOST_REPLICAS = 64  # guess: one process steps them all
_MAX_SPEED = 100  # guess: beyond x40 lateness shows in the results


def main(arguments: Sequence[str]) -> int:
    """Serves until a signal."""
    options = parser().parse_args(arguments)
    try:
        counter = token_counter(options.tokenizer)
        listener = listen(options.host, options.port)
    except (TokenizerError, OSError) as error:
        print(f"engine: {_reason(error, options)}", file=sys.stderr)
        return BAD_INPUT
    settings = Settings(
        preset=_preset(options),
        model=options.model,
        speed=options.speed,
        driven=options.clock == "driven",
        seed=options.seed,
        context_tokens=options.context_tokens,
        api_key=options.api_key or os.environ.get(API_KEY_VARIABLE) or None,
        reasoning_effort=options.reasoning_effort,
        replica_header=not options.no_replica_header,
    )
    if settings.driven and settings.speed != 1:
        said = f"--speed {settings.speed:g}: a driven clock goes as fast as the machine does"
        print(f"engine: {said}; accepted: one of --clock driven and --speed", file=sys.stderr)
        return BAD_INPUT
    return serve(EngineApp(settings, counter), listener, settings)


def serve(app: EngineApp, listener: socket.socket, settings: Settings) -> int:
    """Until a signal, and the end of the streams under way. Says on stdout when it is ready. Raises
    what killed the engine loop."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    ready = f"engine {settings.preset.engine_name} (simulated) at http://{shown}:{port} " + (
        "in driven time" if settings.driven else f"speed {settings.speed:g}"
    )
    server = _Server(app, ready)
    app.on_failure = server.fail
    # uvicorn raises the signal again when the last stream has ended: as Ctrl-C, that is no failure.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        return 0
    if app.failure is not None:
        raise RuntimeError("the engine's loop died") from app.failure
    return 0


class _Server(uvicorn.Server):
    """uvicorn on a socket that is already bound, with one line when it is ready."""

    def __init__(self, app: EngineApp, ready: str) -> None:
        config = uvicorn.Config(
            app,
            http=Protocol,
            loop="auto",  # uvloop where it is installed
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LAST_STREAMS_S,
        )
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # A request of 400 KB makes thousands of objects, none in a cycle: reference counting frees
        # them, and looking through them costs a third of the request.
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        print(self._ready, flush=True)

    def fail(self) -> None:
        """The engine's loop has died."""
        self.config.timeout_graceful_shutdown = _FAILED_STREAMS_S
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _reason(error: Exception, options: argparse.Namespace) -> str:
    if isinstance(error, TokenizerError):
        return str(error)
    cause = error.strerror if isinstance(error, OSError) else str(error)
    return (
        f"--host {options.host} --port {options.port}: {cause}; accepted: an address of this "
        "machine and a free port, or --port 0 for any free port"
    )


def token_counter(spec: str) -> TokenCounter:
    """The counting of `workload.tokens` with this tokenizer. Raises TokenizerError."""
    tokenizer = load_tokenizer(spec)
    return TokenCounter(
        name=tokenizer.name,
        count_message=lambda message: count_message(tokenizer, message),
        count_tools=lambda tools: count_tools(tokenizer, tools),
        generation_prompt_tokens=GENERATION_PROMPT_TOKENS,
    )


def _preset(options: argparse.Namespace) -> Preset:
    changes = WhatIf(
        kv_tokens=options.kv_tokens,
        host_kv_tokens=options.host_kv_tokens,
        prefix_cache=False if options.no_prefix_cache else None,
        replicas=options.replicas,
        routing=options.router,
    )
    preset = changes.apply(PRESETS[options.preset])
    limits = {"max_running": options.max_running, "queue_limit": options.queue_limit}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return replace(preset, policy=replace(preset.policy, **given))


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    accepted = f"a whole number of at least {least}" + (f", at most {most}" if most else "")

    def parse(text: str) -> int:
        if text.isdecimal() and least <= int(text) <= (most or int(text)):
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; accepted: {accepted}")

    return parse


def _tokens(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            tokens = parse_tokens("", text)
        except OptionError:
            tokens = 0
        if tokens < least:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not accepted; accepted: tokens from {least} on, such as 6M or 745k"
            )
        return tokens

    return parse


def _tier(text: str) -> int:
    return 0 if text.strip() == "0" else _tokens(BLOCK_TOKENS)(text)


def _speed(text: str) -> float:
    accepted = f"a number above 0, at most {_MAX_SPEED}"
    refusal = argparse.ArgumentTypeError(f"{text!r} is not accepted; accepted: {accepted}")
    try:
        speed = float(text)
    except ValueError:
        raise refusal from None
    if not 0 < speed <= _MAX_SPEED:
        raise refusal
    return speed


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenswarm engine",
        description="A simulated OpenAI-compatible endpoint. Its presets are illustrative fits, "
        "never measurements of the products they are named after.",
        epilog="In virtual time and without HTTP: tokenswarm simulate --help",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--port", type=_whole(0, 65_535), default=8000, help="0: any free port, printed")
    add("--host", default="127.0.0.1", help="where it listens")
    add("--preset", choices=sorted(PRESETS), default=DEFAULT_PRESET, help="engine and GPUs")
    add(
        "--clock",
        choices=["wall", "driven"],
        default="wall",
        help="driven: engine time goes on as the generator says, so that numbers do not depend on "
        "the machine; one generator process, headless",
    )
    add("--speed", type=_speed, default=1.0, help="engine seconds per wall second")
    add("--seed", type=_whole(0), default=0, help="of answers and speculation")
    add("--model", default="sim-model", help="the name under which it serves")
    add("--kv-tokens", type=_tokens(LEAST_KV_TOKENS), help="size of the KV pool: 6M, 745k, ...")
    add("--host-kv-tokens", type=_tier, help="size of a second tier in host memory, 0: none")
    add("--no-prefix-cache", action="store_true", help="no prompt hits")
    add("--replicas", type=_whole(1, _MOST_REPLICAS), default=1, help="engines behind a router")
    add(
        "--router",
        choices=ROUTINGS,
        default="round-robin",
        help="which replica a request goes to; sticky goes by X-Session-ID",
    )
    add("--no-replica-header", action="store_true", help="answers without X-Replica")
    add("--max-running", type=_whole(1), help="most sequences in a step; the preset's")
    add("--queue-limit", type=_whole(1), help="waiting requests before 429")
    add("--context-tokens", type=_tokens(16), default=262_144, help="prompt and output together")
    add("--tokenizer", default=EMBEDDED, help="as in workload.tokens: embedded, o200k_base, ...")
    add(
        "--reasoning-effort",
        choices=list(EFFORTS),
        default="none",
        help="how much of an answer is reasoning where a request does not say: "
        + ", ".join(f"{name} {share:.0%}" for name, share in EFFORTS.items()).replace("%", "%%"),
    )
    add(
        "--api-key",
        help=f"required of clients; better set in {API_KEY_VARIABLE} (process lists show options)",
    )
    return parser
