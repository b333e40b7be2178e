"""Generation: from a request of any dialect to an answer and the stream of its tokens."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.core.scheduler import QueueFull
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.server.answer import Answer, CacheUse
from tokenswarm.engine.server.errors import ApiError
from tokenswarm.engine.server.lead import Seat
from tokenswarm.engine.server.live import Stream
from tokenswarm.engine.server.prompt_tokens import (
    Prompt,
    PromptReader,
    TokenCounter,
    hash_pieces,
    num_bytes,
    output_segment,
)
from tokenswarm.engine.server.reply_text import draw_reply
from tokenswarm.engine.server.request import Request
from tokenswarm.engine.server.settings import Settings

RETRY_AFTER_S = 1  # guess
DEFAULT_MAX_TOKENS = 256  # guess; OpenAI's own default is the rest of the context
# New text beyond this is tokenised in a thread: about 1 ms of work, 10 times the hop's cost.
_THREAD_BYTES = 4_096


class Generation:
    """Of one process: reads prompts, draws replies, and hands them to an engine's seat."""

    def __init__(self, settings: Settings, counter: TokenCounter) -> None:
        self._settings = settings
        self._prompts = PromptReader(counter)
        self._tokenising = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenise")
        self._numbers = count(1)

    def close(self) -> None:
        self._tokenising.shutdown(wait=False, cancel_futures=True)

    async def begin(
        self, seat: Seat, form: type[Answer], request: Request, session: str | None
    ) -> tuple[Answer, Stream]:
        """The answer in a dialect's form, and its tokens as they come. Raises ApiError."""
        prompt = await self.read_prompt(request)
        answer = self._answer(form, request, prompt, self._output_tokens(request, prompt))
        return answer, await self._submit(seat, answer, prompt, session)

    async def read_prompt(self, request: Request) -> Prompt:
        """Raises ApiError."""
        self.require_model(request.model)
        pieces = hash_pieces(request.tools, request.messages)
        while new := self._prompts.new_pieces(pieces):
            if num_bytes(new) < _THREAD_BYTES:
                self._prompts.remember(self._prompts.count(new))
                break
            loop = asyncio.get_running_loop()
            counted = await loop.run_in_executor(self._tokenising, self._prompts.count, new)
            # Others may have crowded out an old piece meanwhile: look again.
            self._prompts.remember(counted)
        return self._prompts.prompt(pieces)

    def require_model(self, model: str) -> None:
        """Raises ApiError."""
        if model != self._settings.model:
            message = f"the model {model[:80]!r} does not exist; this engine serves "
            message += repr(self._settings.model)
            raise ApiError(404, message, param="model", code="model_not_found")

    def cache_use(self, sequence: Sequence) -> CacheUse:
        """The cache keeps full blocks: of the prompt, all that it did not hold."""
        read = sequence.cached_tokens or 0
        if not self._settings.preset.prefix_cache:
            return CacheUse(read, 0)
        full = sequence.prompt_tokens // BLOCK_TOKENS * BLOCK_TOKENS
        return CacheUse(read, max(0, full - read))

    def _output_tokens(self, request: Request, prompt: Prompt) -> int:
        """max_tokens; where it is not given, the default or the rest of the context."""
        limit = self._settings.max_tokens
        asked = request.max_tokens or max(1, min(DEFAULT_MAX_TOKENS, limit - prompt.num_tokens))
        if prompt.num_tokens + asked <= limit:
            return asked
        message = (
            f"This model's maximum context length is {limit} tokens. However, you requested "
            f"{prompt.num_tokens + asked} tokens ({prompt.num_tokens} in the messages, {asked} in "
            "the completion)."
        )
        param = "messages" if prompt.num_tokens >= limit else "max_tokens"
        raise ApiError(400, message, param=param, code="context_length_exceeded")

    def _answer(
        self, form: type[Answer], request: Request, prompt: Prompt, num_tokens: int
    ) -> Answer:
        reply = draw_reply(
            self._settings.seed,
            prompt.gist,
            num_tokens,
            request.tools,
            request.tool_choice,
            request.reasoning_effort or self._settings.reasoning_effort,
            request.reasoning_budget,
        )
        return form(
            model=request.model,
            streamed=request.stream,
            usage_at_the_end=request.include_usage,
            usage_in_every_chunk=request.usage_in_every_chunk,
            max_tokens_given=request.max_tokens is not None,
            reply=reply,
            number=next(self._numbers),
            created=int(time.time()),
            prompt_tokens=prompt.num_tokens,
        )

    async def _submit(
        self, seat: Seat, answer: Answer, prompt: Prompt, session: str | None
    ) -> Stream:
        num_tokens = answer.reply.num_tokens
        output = output_segment(prompt, answer.history(), num_tokens)
        sequence = Sequence(
            id=answer.number,
            prompt_tokens=prompt.num_tokens,
            output_tokens=num_tokens,
            segments=(*prompt.segments, output),
            session=session,
        )
        try:
            return await seat.submit(sequence, answer.stop_reason)
        except QueueFull as error:
            raise ApiError(
                429,
                f"the queue is full: {error}",
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                headers={"retry-after": str(RETRY_AFTER_S)},
            ) from None
