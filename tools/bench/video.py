# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A question about eight frames, that are kept encoded or have to be encoded."""

from __future__ import annotations

from collections.abc import Iterator
import time

import numpy as np
from pairs import ADDED, alternate, Effort, GAIN, Pair
from running import Asker, AT_ONCE, CAMERA, duration, NODE, running, SMALL
from vlm_npu_ros.engine.backends.scripted import (
    ScriptedEncoder,
    ScriptedLanguageModel,
    ScriptedTimings,
)
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import GenerationRequest

FRAMES = 8
BAR = 4.0  # docs: 24 s against 6 s on the board
_FASTER = 10  # than Qwen3-VL-2B, so that it does not take half an hour
_TIMINGS = ScriptedTimings(2.08 / _FASTER, 302.0 * _FASTER, 14.9 * _FASTER, 196)
_WINDOW = 4.0  # seconds
_QUESTION = 'what has happened?'


def measure(effort: Effort) -> Iterator[Pair]:
    """Ask the node, whose camera shows all the time, and an engine that has no frame yet."""
    rate = 2 * FRAMES / _WINDOW
    parameters = {
        **AT_ONCE,
        'scripted.encode_seconds': 0.0,  # frames encoded meanwhile do not belong to this figure
        'scripted.prefill_rate': _TIMINGS.prefill_rate,
        'scripted.image_tokens': _TIMINGS.image_tokens,
        'encode_rate': rate, 'history_rate': rate,
    }
    engine = LocalEngine(ScriptedEncoder(_TIMINGS), ScriptedLanguageModel(['yes'], _TIMINGS))
    with running(node=(NODE, parameters), camera=(CAMERA, SMALL)) as peer:
        asker = Asker(peer, '/vlm/ask', ('topic',))
        asker.find()
        peer.wait(lambda: False, _WINDOW + 1)

        def ours() -> float:
            answer = asker.by_service(
                question=_QUESTION, num_frames=FRAMES, window=duration(_WINDOW)
            )
            assert len(answer.result.frame_stamps) == FRAMES, answer.result.note
            return answer.first()

        kept, encoded = alternate(effort.repeats(7), ours, lambda: _on_ask(engine))
    tokens = FRAMES * _TIMINGS.image_tokens + len(_QUESTION.split())
    limit = (1000 * tokens / _TIMINGS.prefill_rate,) * len(kept)
    yield Pair(f'{FRAMES} frames: first token', 'encoding on ask', 'ms', kept, encoded, GAIN, BAR)
    yield Pair(f'{FRAMES} frames: first token', 'prefill alone', 'ms', kept, limit, ADDED)


def _on_ask(engine: LocalEngine) -> float:
    started = time.perf_counter()
    frames = [engine.encode(np.zeros((48, 64, 3), np.uint8)) for _ in range(FRAMES)]
    with engine.generate(GenerationRequest(_QUESTION, tuple(frames))) as generation:
        generation.next()
        return 1000 * (time.perf_counter() - started)
