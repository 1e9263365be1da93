# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A language model behind a server of chat completions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
import json
import time
from typing import Any

from vlm_npu_ros.engine.backends.base import LanguageModel
from vlm_npu_ros.engine.backends.openai.failures import RefusedError
from vlm_npu_ros.engine.backends.openai.messages import chat, estimated_tokens
from vlm_npu_ros.engine.backends.openai.models import ServerModel
from vlm_npu_ros.engine.backends.openai.pieces import Piece, Token, Usage
from vlm_npu_ros.engine.backends.openai.probabilities import probabilities
from vlm_npu_ros.engine.backends.openai.server import Server
from vlm_npu_ros.engine.backends.openai.settings import CHOICE_METHODS, MOST_TOKENS, OpenAISettings
from vlm_npu_ros.engine.backends.openai.wishes import Wishes, wishes_of
from vlm_npu_ros.engine.choices.instructions import Instructions
from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    BackendCrashedError,
    ContextError,
    EmptyAnswerError,
    NotSupportedError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.models import grounding_like
from vlm_npu_ros.engine.stream import Stream
from vlm_npu_ros.engine.thoughts import answer_start
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    same_images,
)

_LEAST_WINDOW = 2000  # tokens; no server has a smaller context by default
# The question as it was asked: the gateway of this package words and decides it itself.
_AS_ASKED = Instructions('{question}', '{question}', '{question}', ask_back='')
_TRIFLE = GenerationRequest('Say yes.', (), 1)  # asked to find out what a server refuses


@dataclass
class _Answer:
    """What has come of an answer besides its text."""

    reason: FinishReason | None = None
    usage: Usage | None = None
    refusal: str = ''
    confidence: float = 0.0
    withheld: bool = False


class RemoteLanguageModel(LanguageModel):
    """
    Asks a server, one question at a time.

    model: as the server has it.
    context: tokens; 0 = unknown, until an error of the server tells it.
    """

    takes_system_prompt = True

    def __init__(
        self, server: Server, settings: OpenAISettings, model: ServerModel, context: int
    ) -> None:
        self.name, self.context = model.name, context or MOST_TOKENS
        self.grounding = grounding_like(model.name)
        known = settings.thinking == 'on' or 'thinking' in model.name.lower()
        self.unopened_thoughts = known or None  # until answers tell
        self._server, self._settings, self._model = server, settings, model
        best: tuple[str, ...] = ('parse',) if model.keeps_dialogues else CHOICE_METHODS
        if model.decides:
            best, self.instructions = ('json_schema',), _AS_ASKED
        ways = best if settings.typed == 'auto' else (settings.typed,)
        self._wishes = wishes_of(settings, ways)
        self._granted: set[str] = set()  # ways that the server has taken
        self._pictures_last = model.forgets_silently and not context
        self._read: tuple[GenerationRequest, int] | None = None  # the last one, tokens of it
        self._tokens: list[Token] = []  # of the last answer
        self._seen: tuple[ImageEmbedding, ...] = ()  # that were read last, all of them
        self._decided = ('', 0.0)  # what the server has decided for, and how probable it is

    @property
    def keeps_pictures(self) -> bool:
        """Whether the server may keep what it has read of pictures."""
        return not (self._model.keeps_dialogues or self._pictures_last)

    def tokens(self, request: GenerationRequest) -> int:
        return estimated_tokens(request)

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        """Ask nothing about the images: a server that keeps what it has read reads them now."""
        if same_images(self._seen, images):
            return NOTHING_READ
        # Some servers refuse a text that is empty.
        *_, last = self.generate(GenerationRequest('.', images, max_new_tokens=1), cancelled)
        assert last.figures
        return replace(last.figures, new_tokens=0, decode_seconds=0.0)

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        """
        Yield the answer as it comes in.

        What the server refuses of the wishes is not asked for again. Raises what Failures makes,
        and AnswerTimeoutError when the server is silent for too long.
        """
        wishes, refused = self._wishes, None
        while True:
            self._tokens, self._decided = [], ('', 0.0)
            arguments = wishes.arguments(self._body(request), request)
            way = wishes.way if request.choices else 'parse'
            try:
                yield from self._answer(request, arguments, way, cancelled)
            except ContextError as error:
                self.context = error.size or self.context
                raise
            except RequestError as error:
                if isinstance(error, RefusedError):
                    refused = error
                elif isinstance(error, NotSupportedError):
                    raise
                elif refused and refused.what == error.what:  # it says the same without it
                    raise refused from None
                wishes = self._retreat(wishes, arguments, error, request, cancelled)
            else:
                return self._remember(wishes, bool(request.choices))

    def _body(self, request: GenerationRequest) -> dict[str, Any]:
        body = chat(request, self.name, self._pictures_last)
        if self._model.keeps_dialogues:
            sampling = request.sampling
            top_k = sampling.top_k if sampling.temperature else 1
            body |= {'cache_prompt': False, 'top_k': top_k}
        return body

    def _retreat(
        self, wishes: Wishes, arguments: dict[str, Any], error: RequestError,
        request: GenerationRequest, cancelled: Cancellation,
    ) -> Wishes:
        """Wish for less; raise the error if the wishes are not its reason."""
        if isinstance(error, RefusedError):
            names = error.names & wishes.optional(arguments)
            fewer = wishes.without(names, error.values, arguments)
            if fewer != wishes:
                return fewer
        if wishes != self._wishes or wishes.way in self._granted:
            raise error
        # The question is not sent again and again, because its pictures are large.
        for fewer in wishes.fewer(request):
            if self._takes(fewer, request, cancelled):
                self._granted.add(fewer.way)
                if fewer == wishes:
                    break
                return fewer
        raise error

    def _takes(
        self, wishes: Wishes, request: GenerationRequest, cancelled: Cancellation
    ) -> bool:
        """Ask a trifle to find out whether the server takes these wishes."""
        trifle = replace(
            _TRIFLE, choices=request.choices, schema=request.schema, sampling=request.sampling)
        stop, watch = Cancellation(cancelled), _Watch(self._settings)
        arguments = wishes.arguments(self._body(trifle), trifle)
        try:
            for _ in self._pieces(self._server.ask(arguments, stop), watch, stop):
                return True
        except RequestError:
            return False
        finally:
            stop.set()
        return True

    def _remember(self, granted: Wishes, has_choices: bool) -> None:
        self._wishes = granted
        self._granted.add(granted.way)
        ways = granted.ways
        if has_choices and ways[0] == 'logprobs' and len(ways) > 1 and not self._tokens:
            self._wishes = replace(granted, ways=ways[1:])  # taken, but not given

    def _answer(
        self, request: GenerationRequest, arguments: dict[str, Any], way: str,
        cancelled: Cancellation,
    ) -> Iterator[Chunk]:
        watch, stop = _Watch(self._settings), Cancellation(cancelled)
        is_ahead = same_images(self._seen, request.images) and not request.turns
        self._seen = ()
        reply = self._server.ask(arguments, stop)
        text, made = '', _Answer()
        try:
            for piece in self._pieces(reply, watch, stop):
                self._tokens += piece.tokens
                made.reason = piece.finish_reason or made.reason
                if piece.ended and made.reason is None and watch.count:
                    made.reason = FinishReason.EOS
                made.usage = piece.usage or made.usage
                made.refusal += piece.refusal
                made.confidence = piece.confidence or made.confidence
                made.withheld |= piece.withheld
                text += piece.text
                said = piece.text if way != 'json_schema' else ''
                if said or piece.thought:
                    yield Chunk(said, thought=piece.thought)
                if watch.count > request.max_new_tokens:  # the server does not keep to it
                    made.reason = FinishReason.LENGTH
                    break
        finally:
            stop.set()
        if cancelled.is_set():
            made.reason = FinishReason.CANCELLED
        else:
            self._check(made, text, watch.odd)
            self._seen = request.images
        note = self._dropped(request, made.usage)
        last = _answer_in(text) if way == 'json_schema' else ''
        self._decided = last, made.confidence
        yield Chunk(last, made.reason, watch.figures(request, made.usage, is_ahead), note=note)

    def _check(self, made: _Answer, text: str, odd: str) -> None:
        """Raise an error for what is no answer."""
        where = self._settings.title
        if odd:
            self._server.log(f'{where} sent{odd}')
        if made.reason is None:
            raise BackendCrashedError(
                f'{where} ended the answer without saying why{odd and f", after{odd}"}',
                'Look into its log',
            )
        if not text.strip() and made.refusal.strip():
            raise EmptyAnswerError(
                f'{where}: its model refuses to answer: '
                f'{made.refusal.strip().rstrip(".")}',
                'Ask in other words',
            )
        if not text.strip() and made.withheld:
            raise EmptyAnswerError(
                f'{where}: a content filter has withheld the answer',
                'Ask in other words, or about another picture',
            )

    def _dropped(self, request: GenerationRequest, usage: Usage | None) -> str:
        """
        Notice by its count that a server has dropped old messages; return a note about it.

        Later dialogues are cut to what it has read, and show pictures in the newest message.
        """
        before, self._read = self._read, (request, usage.prompt_tokens) if usage else None
        if not (before and usage):
            return ''
        earlier, read = before
        # A part of it, because an estimate can be too large by far.
        growth = (estimated_tokens(request) - estimated_tokens(earlier)) // 4
        # Much smaller counts are those of servers that do not count what they still hold.
        if not max(_LEAST_WINDOW, read) / 2 < usage.prompt_tokens < read + growth:
            return ''
        count = len(earlier.turns)
        goes_on = (
            len(request.turns) > count and request.turns[:count] == earlier.turns
            and request.turns[count].question == earlier.question
            and same_images(request.images, earlier.images)
        )
        if not goes_on:
            return ''
        self.context = min(self.context, read + request.max_new_tokens)
        self._pictures_last = True
        note = (
            f'{self._settings.title} has dropped the beginning of the dialogue, and said '
            f'nothing: it read {usage.prompt_tokens} tokens, and {read} for the question before. '
            'Give it a larger context, and set the parameter context'
        )
        self._server.log(note)
        return note

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
            except VlmError:
                if ended:  # all that is missing is what the answer has cost
                    return
                raise
            ended = ended or piece.finish_reason is not None
            watch.note(piece)
            yield piece

    def score(
        self, request: GenerationRequest, said: str, endings: tuple[str, ...]
    ) -> tuple[float, ...] | None:
        decided, confidence = self._decided
        if confidence:
            return tuple(confidence * (ending.strip() == decided) for ending in endings)
        start = answer_start(''.join(token.text for token in self._tokens))
        length, own = 0, []
        for token in self._tokens:
            own += [token] if length >= start else []
            length += len(token.text)
        return probabilities(own, said, endings)

    def close(self) -> None:
        self._server.close()


class _Watch:
    """Times one answer."""

    def __init__(self, settings: OpenAISettings) -> None:
        self.count = 0  # of pieces with something written in them
        self._odd = 0  # events
        self._thoughts = 0  # of these
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
        self._odd += piece.odd
        if piece.is_token or piece.finish_reason:
            self._last = time.perf_counter()
        if piece.is_token:
            self._first = self._first or self._last
            self.count += 1
            self._thoughts += bool(piece.thought)

    @property
    def odd(self) -> str:
        """Words about the events that could not be read."""
        return f' {self._odd} events that cannot be read' if self._odd else ''

    def timeout_error(self) -> AnswerTimeoutError:
        settings = self._settings
        silence = (
            f'wrote nothing more for {in_words(settings.token_timeout)} (openai.token_timeout)'
            if self.count else
            f'wrote nothing for {in_words(settings.first_token_timeout)} '
            '(openai.first_token_timeout)'
        )
        return AnswerTimeoutError(
            f'{settings.title} {silence}{self.odd and f", only{self.odd}"}: '
            'look into its log, or allow more'
        )

    def figures(
        self, request: GenerationRequest, usage: Usage | None, is_ahead: bool
    ) -> GenerationFigures:
        """
        Say what the answer cost: as the server says, else as far as it is seen from here.

        is_ahead: its images had been read before.
        """
        end = time.perf_counter()
        first = self._first or end
        counted = usage or Usage(estimated_tokens(request), self.count)
        prompt, new = counted.prompt_tokens - counted.held_tokens, counted.new_tokens
        images, seconds = min(request.image_tokens, prompt), (first - self._started, end - first)
        thoughts = min(counted.thought_tokens or self._thoughts, new)
        ahead = counted.held_tokens if is_ahead else 0
        return GenerationFigures(images, prompt, new, *seconds, thoughts, self._odd, ahead)


def _answer_in(text: str) -> str:
    """Take the answer out of a JSON object; a server may have written something else."""
    try:
        answer = json.loads(text)['answer']
    except (KeyError, TypeError, ValueError):
        return text
    return answer if isinstance(answer, str) else text
