# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Lets a model answer where something is, in pixels of the camera's picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vlm_npu_ros.engine.backends.base import Answer, LanguageModel, VisionEncoder
from vlm_npu_ros.engine.errors import NotSupportedError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.locating.grounding import Grounding
from vlm_npu_ros.engine.locating.reading import read
from vlm_npu_ros.engine.models import known_models, load_profile
from vlm_npu_ros.engine.placement import Placement
from vlm_npu_ros.engine.types import Chunk, Corners, FinishReason, GenerationRequest, Spot

_INSIDE = 0.5  # of a box must be in the picture, not in what is around it


def grounding_of(model: LanguageModel) -> Grounding:
    """Return how the model is asked; NotSupportedError, which names others, if it cannot be."""
    if model.grounding is None:
        able = [name for name in known_models() if load_profile(name).grounding]
        raise NotSupportedError(
            f'The model {model.name} does not tell where things are',
            f'Use one that does: {", ".join(able)}',
        )
    return model.grounding


class Finder:
    """
    Asks a model where something is, and reads its answer.

    thing: what is looked for, in the words of the question.
    answer: writes what the model answers to a request, without its thoughts.
    """

    def __init__(
        self, model: LanguageModel, encoder: VisionEncoder, thing: str, answer: Answer
    ) -> None:
        self._grounding, self._encoder = grounding_of(model), encoder
        self._thing, self._answer = thing, answer

    def find(self, request: GenerationRequest, stop: Cancellation) -> Iterator[Chunk]:
        """
        Yield the answer; its last chunk has the spots.

        Raises AnswerFormError if it does not say where things are, nor that there are none.
        """
        assert request.locate
        placement = replace(request.locate, padded=bool(self._encoder.size))
        said = ''
        for chunk in self._answer(request, stop):
            said = ('' if chunk.retracts else said) + chunk.text
            reason = chunk.finish_reason
            if reason and reason.is_whole:
                size = self._encoder.seen(*placement.seen)
                is_cut = reason is not FinishReason.EOS
                spots, note = read(said, self._grounding, self._thing, size, is_cut)
                placed = [spot for s in spots if (spot := _placed(s, placement))]
                if len(placed) < len(spots):
                    beyond = f'{len(spots) - len(placed)} places are beside the picture'
                    note = '; '.join(filter(None, (note, beyond)))
                note = '; '.join(filter(None, (chunk.note, note)))
                chunk = replace(chunk, spots=tuple(placed), note=note)
            yield chunk


def _placed(spot: Spot, placement: Placement) -> Spot | None:
    """Return it in pixels of the picture; None if it is beside what the model saw of that."""
    u, v, right, lower = spot.corners
    (x0, y0), (x1, y1) = placement.to_picture(u, v), placement.to_picture(right, lower)
    whole = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
    box = placement.box
    inside = (
        max(whole[0], float(box.x)), max(whole[1], float(box.y)),
        min(whole[2], float(box.x + box.width)), min(whole[3], float(box.y + box.height)),
    )
    is_beside = inside[0] > inside[2] or inside[1] > inside[3]
    if is_beside or _area(inside) < _INSIDE * _area(whole):
        return None
    return replace(spot, corners=inside)


def _area(corners: Corners) -> float:
    return (corners[2] - corners[0]) * (corners[3] - corners[1])
