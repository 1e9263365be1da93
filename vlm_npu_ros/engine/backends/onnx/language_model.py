# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Causal language model as an ONNX graph with a key-value cache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
import time

import numpy as np
from vlm_npu_ros.engine.backends.base import LanguageModel
from vlm_npu_ros.engine.backends.onnx.sampling import pick_token
from vlm_npu_ros.engine.backends.onnx.sessions import open_session
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vlm_npu_ros.engine.choices.instructions import Instructions, PLAIN
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.locating.grounding import Grounding
from vlm_npu_ros.engine.types import (
    Chunk,
    FinishReason,
    GenerationFigures,
    GenerationRequest,
    ImageEmbedding,
    NOTHING_READ,
    ReadAhead,
    same_images,
)

_NEVER = 1e-6  # probability; what is less likely needs no exact figure


class OnnxLanguageModel(LanguageModel):
    """
    Runs a graph that reads tokens and returns the logits of the next one.

    Inputs: tokens (length,) int64; image (rows, dim) float32, taken in order where a token is
    <image>; past (past length, layers, 2, dim) float32.
    Outputs: logits (vocabulary,) float32; present (length, layers, 2, dim), keys and values to
    append to past. Time is the first axis, so the cache is one buffer that only grows.

    locator: a model that is asked where things are instead.
    """

    tells_probabilities = True

    def __init__(
        self, name: str, path: Path, tokenizer_path: Path, context: int,
        threads: int = 0, instructions: Instructions = PLAIN, reads_ahead: bool = False,
        grounding: Grounding | None = None, locator: OnnxLanguageModel | None = None,
    ) -> None:
        self.name, self.instructions, self.grounding = name, instructions, grounding
        self._locator = locator
        self.read_ahead = ReadAhead.wanted(reads_ahead)
        self._session = open_session(path, threads)
        inputs = {i.name: i.shape for i in self._session.get_inputs()}
        outputs = {o.name: o.shape for o in self._session.get_outputs()}
        match inputs, outputs:
            case (
                {'tokens': [_], 'image': [_, int(dim)], 'past': [_, int(), int(), int()], **more},
                {'logits': [int(vocabulary)], 'present': [_, _, _, _]},
            ) if not more:
                self.dim = dim
            case _:
                raise ModelFileError(
                    f'{path} is not a language model: expected the inputs tokens, image and past '
                    f'and the outputs logits and present, found {inputs} and {outputs}'
                )
        self._tokenizer = Tokenizer.load(tokenizer_path)
        if vocabulary != len(self._tokenizer):
            raise ModelFileError(
                f'{path} has a vocabulary of {vocabulary} tokens, '
                f'{tokenizer_path} {len(self._tokenizer)}'
            )
        self.context = context
        try:
            self._cache = np.empty((context, *inputs['past'][1:]), np.float32)
        except (ValueError, MemoryError) as error:
            raise ModelFileError(
                f'There is no memory for {context} tokens of the context of {path}: {error}'
            ) from error
        self._cached: list[int] = []  # the tokens that the cache holds
        self._unstored = 0, 0, self._cache[:0]  # from, to, keys and values
        self._images: tuple[ImageEmbedding, ...] = ()  # that they are about

    def prepare(
        self, images: tuple[ImageEmbedding, ...], cancelled: Cancellation
    ) -> GenerationFigures:
        begun = self._tokens(GenerationRequest('', images))[:-1]  # up to the question
        if len(begun) > self.context or (
            same_images(self._images, images) and self._cached[:len(begun)] == begun
        ):
            return NOTHING_READ
        prompt, image = self._unread(begun, images, True)
        started = time.perf_counter()
        self._run(prompt, image)
        seconds = time.perf_counter() - started
        return GenerationFigures(len(image), len(prompt), 0, seconds, 0.0)

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        if request.locate and self._locator:
            # It reads no dialogues: what is named counts.
            yield from self._locator.generate(replace(request, turns=()), cancelled)
            return
        whole = self._tokens(request)
        self.check_fits(request, f'{len(whole)} tokens', len(whole))
        goes_on = bool(request.turns) or self.read_ahead.possible
        prompt, image = self._unread(whole, request.images, goes_on)
        ahead = 0 if request.turns else len(whole) - len(prompt)
        sampling = request.sampling
        # A generator takes 0.1 ms to make.
        rng = np.random.default_rng(sampling.seed) if sampling.temperature > 0 else None
        text = self._tokenizer.stream()
        started = time.perf_counter()
        logits = self._run(prompt, image)
        prefilled = time.perf_counter()
        count = 0
        while True:
            if cancelled.is_set():
                reason = FinishReason.CANCELLED
                break
            token = pick_token(logits, sampling, rng)
            if token == self._tokenizer.special['<eos>']:
                reason = FinishReason.EOS
                break
            count += 1
            piece = text.push(token)
            if piece:
                yield Chunk(piece)
            if count == request.max_new_tokens:
                reason = FinishReason.LENGTH
                break
            logits = self._run([token], image)
        seconds = prefilled - started, time.perf_counter() - prefilled
        figures = GenerationFigures(
            len(image), len(prompt), count, *seconds, read_ahead_tokens=ahead,
        )
        yield Chunk(text.finish(), reason, figures)

    def score(
        self, request: GenerationRequest, said: str, endings: tuple[str, ...]
    ) -> tuple[float, ...] | None:
        begun = self._tokens(request) + self._tokenizer.encode(said)
        tokens = [self._tokenizer.encode(ending) for ending in endings]
        if len(begun) + max(map(len, tokens)) > self.context:
            return None
        logits = self._run(*self._unread(begun, request.images, True))
        return tuple(self._probability(ending, logits) for ending in tokens)

    def _probability(self, tokens: list[int], logits: np.ndarray) -> float:
        """Return that of the next tokens; logits: those of the first one."""
        probability, held = 1.0, len(self._cached)
        for i, token in enumerate(tokens):
            if i:
                logits = self._run([tokens[i - 1]], np.empty((0, self.dim), np.float32))
            weights = np.exp(logits - logits.max(), dtype=np.float64)
            probability *= float(weights[token] / weights.sum())
            if probability < _NEVER:
                break
        del self._cached[held:]
        return probability

    def tokens(self, request: GenerationRequest) -> int:
        if request.locate and self._locator:
            return self._locator.tokens(replace(request, turns=()))
        return len(self._tokens(request))

    def _tokens(self, request: GenerationRequest) -> list[int]:
        special = self._tokenizer.special
        tokens = [special['<image>']] * request.image_tokens
        for turn in request.turns:
            tokens += self._asked(turn.question)
            tokens += [*self._tokenizer.encode(turn.answer), special['<eos>']]
        return tokens + self._asked(request.question)

    def _asked(self, question: str) -> list[int]:
        special = self._tokenizer.special
        words = self._tokenizer.encode(question.lower())  # the demo model has seen no other case
        return [special['<user>'], *words, special['<assistant>']]

    def _unread(
        self, prompt: list[int], images: tuple[ImageEmbedding, ...], goes_on: bool
    ) -> tuple[list[int], np.ndarray]:
        """
        Return the tokens of the prompt that are to be read, and the rows for their <image> tokens.

        goes_on: the cache may hold the start of the prompt, which is kept then.
        """
        held = 0
        if goes_on and same_images(self._images, images):
            # At least the last token is read: its logits are wanted.
            held = _common_start(self._cached, prompt[:-1])
        del self._cached[held:]
        self._images = images
        parts = [i.data.reshape(i.tokens, -1) for i in images]
        none = np.empty((0, self.dim), np.float32)
        image = parts[0] if len(parts) == 1 else np.concatenate([none, *parts])
        return prompt[held:], image[min(held, len(image)):]

    def _run(self, tokens: list[int], image: np.ndarray) -> np.ndarray:
        """Return the logits after the tokens, which are appended to the cache."""
        # What the last run has read is stored only now, as its token was awaited.
        start, end, present = self._unstored
        self._cache[start:end] = present
        start, end = len(self._cached), len(self._cached) + len(tokens)
        logits, present = self._session.run(
            ['logits', 'present'],
            {
                'tokens': np.array(tokens, np.int64),
                # The graph indexes a row even where no token is <image>.
                'image': image if len(image) else np.zeros((1, self.dim), np.float32),
                'past': self._cache[:start],
            },
        )
        self._unstored = start, end, present
        self._cached += tokens
        return logits


def _common_start(first: list[int], second: list[int]) -> int:
    """Return how many tokens both begin with."""
    differing = (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return next(differing, min(len(first), len(second)))
