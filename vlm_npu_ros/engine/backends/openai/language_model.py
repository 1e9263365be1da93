"""A language model behind a server of chat completions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
import time

from vlm_npu_ros.engine.backends.base import LanguageModel
from vlm_npu_ros.engine.backends.openai.failures import context_size
from vlm_npu_ros.engine.backends.openai.messages import chat, choice_arguments, estimated_tokens
from vlm_npu_ros.engine.backends.openai.pieces import Piece, Token, Usage
from vlm_npu_ros.engine.backends.openai.probabilities import probabilities
from vlm_npu_ros.engine.backends.openai.server import Server
from vlm_npu_ros.engine.backends.openai.settings import CHOICE_METHODS, MOST_TOKENS, OpenAISettings
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    BackendCrashedError,
    ContextError,
    RequestError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationFigures, GenerationRequest


@dataclass(frozen=True)
class _Wishes:
    """What is asked for besides the answer; a server may refuse it."""

    way: str = 'parse'  # for choices, see OpenAISettings.typed
    usage: bool = True


class RemoteLanguageModel(LanguageModel):
    """
    Asks a server, one question at a time.

    name: of the model, as the server has it.
    context: tokens; 0 = unknown, until an error of the server tells it.
    """

    def __init__(self, server: Server, settings: OpenAISettings, name: str, context: int) -> None:
        self.name, self.context = name, context or MOST_TOKENS
        self._server, self._settings = server, settings
        typed = settings.typed
        self._ways: tuple[str, ...] = CHOICE_METHODS if typed == 'auto' else (typed,)
        self._has_usage = True
        self._tokens: list[Token] = []  # of the last answer

    def tokens(self, request: GenerationRequest) -> int:
        return estimated_tokens(request)

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        """
        Yield the answer as it comes in.

        What the server refuses of the wishes is not asked for again. Raises what Failures makes,
        and AnswerTimeoutError when the server is silent for too long.
        """
        self._tokens = []
        wishes = self._wishes(bool(request.choices))
        for wish in wishes:
            try:
                yield from self._answer(request, wish, cancelled)
            except ContextError as error:
                self.context = context_size(str(error)) or self.context
                raise
            except RequestError:
                if wish is wishes[-1]:
                    raise
            else:
                return self._remember(wish, bool(request.choices))

    def _wishes(self, has_choices: bool) -> list[_Wishes]:
        """List what to ask for, what is wished for most first."""
        ways = self._ways if has_choices else ('parse',)
        usages = (True, False) if self._has_usage else (False,)
        return [_Wishes(way, usage) for usage in usages for way in ways]

    def _remember(self, granted: _Wishes, has_choices: bool) -> None:
        self._has_usage = granted.usage
        if has_choices:
            self._ways = self._ways[self._ways.index(granted.way):]
            if granted.way == 'logprobs' and len(self._ways) > 1 and not self._tokens:
                self._ways = self._ways[1:]  # taken, but not given

    def _answer(
        self, request: GenerationRequest, wish: _Wishes, cancelled: Cancellation
    ) -> Iterator[Chunk]:
        body = chat(request, self.name) | choice_arguments(wish.way, request.choices)
        if wish.usage:
            body['stream_options'] = {'include_usage': True}
        watch, stop = _Watch(self._settings), Cancellation(cancelled)
        reply = self._server.ask(body, stop)
        text, reason, usage = '', None, None
        try:
            for piece in self._pieces(reply, watch, stop):
                self._tokens += piece.tokens
                reason, usage = piece.finish_reason or reason, piece.usage or usage
                text += piece.text
                if piece.text and wish.way != 'json_schema':
                    yield Chunk(piece.text)
                if watch.count > request.max_new_tokens:  # the server does not keep to it
                    reason = FinishReason.LENGTH
                    break
        finally:
            stop.set()
        if cancelled.is_set():
            reason = FinishReason.CANCELLED
        elif reason is None:
            raise BackendCrashedError(
                f'The server {self._settings.base_url} ended the answer without saying why: '
                'look into its log'
            )
        last = _answer_in(text) if wish.way == 'json_schema' else ''
        yield Chunk(last, reason, watch.figures(request, usage))

    def _pieces(
        self, reply: Stream[Piece], watch: _Watch, cancelled: Cancellation
    ) -> Iterator[Piece]:
        """Yield what comes in, up to the end of the stream."""
        ended = False
        while not cancelled.is_set():
            try:
                piece = reply.next(watch.patience)
            except StopIteration:
                return
            except TimeoutError:
                if ended:
                    return
                raise watch.timeout_error() from None
            except BackendCrashedError:
                if ended:  # all that is missing is what the answer has cost
                    return
                raise
            ended = ended or piece.finish_reason is not None
            watch.note(piece)
            yield piece

    def score(
        self, request: GenerationRequest, said: str, endings: tuple[str, ...]
    ) -> tuple[float, ...] | None:
        return probabilities(self._tokens, said, endings)

    def close(self) -> None:
        self._server.close()


class _Watch:
    """Times one answer."""

    def __init__(self, settings: OpenAISettings) -> None:
        self.count = 0  # of pieces with something written in them
        self._settings = settings
        self._started = self._last = time.perf_counter()
        self._first: float | None = None

    @property
    def patience(self) -> float:
        """Seconds that the next piece may still take."""
        limit = self._settings.token_timeout if self.count else self._settings.first_token_timeout
        return self._last + limit - time.perf_counter()

    def note(self, piece: Piece) -> None:
        """Take a piece that has come in; an empty one is not a sign of life."""
        if piece.is_token or piece.finish_reason:
            self._last = time.perf_counter()
        if piece.is_token:
            self._first = self._first or self._last
            self.count += 1

    def timeout_error(self) -> AnswerTimeoutError:
        settings = self._settings
        silence = (
            f'wrote nothing more for {settings.token_timeout:g} s (openai.token_timeout)'
            if self.count else
            f'wrote nothing for {settings.first_token_timeout:g} s (openai.first_token_timeout)'
        )
        return AnswerTimeoutError(
            f'The server {settings.base_url} {silence}: look into its log, or allow more'
        )

    def figures(self, request: GenerationRequest, usage: Usage | None) -> GenerationFigures:
        """Say what the answer cost: as the server says, else as far as it is seen from here."""
        end = time.perf_counter()
        first = self._first or end
        counted = usage or Usage(estimated_tokens(request), self.count)
        prompt, new = counted.prompt_tokens, counted.new_tokens
        images, seconds = min(request.image_tokens, prompt), (first - self._started, end - first)
        return GenerationFigures(images, prompt, new, *seconds)


def _answer_in(text: str) -> str:
    """Take the answer out of a JSON object; a server may have written something else."""
    try:
        answer = json.loads(text)['answer']
    except (KeyError, TypeError, ValueError):
        return text
    return answer if isinstance(answer, str) else text
