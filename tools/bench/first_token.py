# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The time to the first token, at the published speeds of three models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import time

import numpy as np
from pairs import ADDED, alternate, Effort, GAIN, Pair
from running import Asker, AT_ONCE, CAMERA, moment, NODE, Peer, running, SMALL
from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest

BAR = 5.0  # milliseconds over the limit
_ANSWER = 'It is red.'
_TEXT_TOKENS = 32  # of a question with all that the model's template adds
_QUESTION = ' '.join(['word'] * _TEXT_TOKENS)


@dataclass(frozen=True)
class Model:
    """A model's speeds, as in ScriptedTimings; gain: how many times faster the cache must be."""

    name: str
    encode_seconds: float
    prefill_rate: float
    decode_rate: float
    image_tokens: int
    gain: float
    repeats: int

    @property
    def limit(self) -> float:
        """Compute the milliseconds that reading image and question takes at least."""
        return 1000 * (self.image_tokens + _TEXT_TOKENS) / self.prefill_rate


MODELS = (
    Model('Qwen3-VL-2B', 2.08, 302.0, 14.9, 196, 3.5, 5),
    Model('Qwen2.5-VL-3B', 2.93, 175.0, 8.7, 196, 3.0, 5),
    Model('SmolVLM2-256M', 0.84, 1656.0, 54.0, 64, 12.0, 15),
)


def measure(effort: Effort) -> Iterator[Pair]:
    """Measure each model."""
    for model in MODELS[2 * effort.short:]:
        yield from _model(model, effort.repeats(model.repeats))


def _model(model: Model, repeats: int) -> Iterator[Pair]:
    parameters = {
        **AT_ONCE,
        'scripted.answers': [_ANSWER],
        'scripted.encode_seconds': model.encode_seconds,
        'scripted.prefill_rate': model.prefill_rate,
        'scripted.decode_rate': model.decode_rate,
        'scripted.image_tokens': model.image_tokens,
    }
    with running(node=(NODE, parameters), camera=(CAMERA, SMALL)) as peer:
        asker = Asker(peer, '/vlm/ask', ('topic', 'feedback'))
        asker.find()
        bare = Bare(model)
        service, action, fresh, engine = alternate(
            repeats,
            lambda: asker.by_service(question=_QUESTION).first(),
            lambda: asker.by_action(question=_QUESTION).first('feedback'),
            lambda: asker.by_action(
                question=_QUESTION, not_before=_newest(peer)
            ).first('feedback'),
            bare.first_token,
        )
    limit = (model.limit,) * repeats
    for way, ours in (('service and topic', service), ('goal and feedback', action)):
        name = f'{model.name}: {way}'
        yield Pair(name, 'prefill alone', 'ms', ours, limit, ADDED, BAR)
        yield Pair(name, 'bare engine', 'ms', ours, engine, ADDED)
    yield Pair(name, 'encoding on ask', 'ms', action, fresh, GAIN, model.gain)


def _newest(peer: Peer) -> object:
    """Make a stamp that only the camera's newest frame is younger than."""
    return moment(peer, 1.2 / float(str(SMALL['rate'])))


class Bare:
    """The engine alone, called in this process, with an embedding that is there."""

    def __init__(self, model: Model) -> None:
        timings = ScriptedTimings(
            model.encode_seconds, model.prefill_rate, model.decode_rate, model.image_tokens
        )
        self._engine = LocalEngine(
            ScriptedEncoder(timings), ScriptedLanguageModel([_ANSWER], timings)
        )
        image = self._engine.encode(np.zeros((48, 64, 3), np.uint8))
        self._request = GenerationRequest(_QUESTION, (image,))

    def first_token(self) -> float:
        """Measure the milliseconds until it comes."""
        started = time.perf_counter()
        chunks = self._engine.generate(self._request)
        next(chunks)
        seconds = time.perf_counter() - started
        for _ in chunks:
            pass
        return 1000 * seconds
