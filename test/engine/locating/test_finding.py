# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Answers with places become pixels of the camera's picture, whatever was done to it before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import json

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from vlm_npu_ros.engine.backends.scripted import ScriptedEncoder, ScriptedLanguageModel
from vlm_npu_ros.engine.errors import AnswerFormError, NotSupportedError
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.locating.grounding import Grounding
from vlm_npu_ros.engine.placement import Box, Placement
from vlm_npu_ros.engine.types import Chunk, GenerationRequest, Sampling

SIDES = st.integers(20, 4000)


class SquareEncoder(ScriptedEncoder):
    """Takes letterboxed squares."""

    size = 448


class Model(ScriptedLanguageModel):
    """Keeps what it was asked."""

    def generate(self, request: GenerationRequest, cancelled: Cancellation) -> Iterator[Chunk]:
        self.request = request
        return super().generate(request, cancelled)


def ask(
    answer: str, placement: Placement, grounding: Grounding | None, square: bool = True
) -> tuple[Sequence[Chunk], Model]:
    """Ask where the cup is."""
    model = Model([answer])
    model.grounding = grounding
    engine = LocalEngine(SquareEncoder() if square else ScriptedEncoder(), model)
    image = engine.encode(np.zeros((8, 8, 3), np.uint8))
    request = GenerationRequest(
        'the cup?', (image,), 64, Sampling(temperature=1.0), locate=placement)
    with engine.generate(request) as generation:
        return list(generation), model


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    width, height = draw(SIDES), draw(SIDES)
    x, y = draw(st.integers(0, width - 10)), draw(st.integers(0, height - 10))
    box = Box(x, y, draw(st.integers(10, width - x)), draw(st.integers(10, height - y)))
    return Placement(box, draw(st.sampled_from([0, 90, 180, 270])), draw(st.booleans()))


@settings(deadline=None)
@given(placements(), st.sampled_from(['xy', 'yx']), st.sampled_from([1, 0, 1000]), st.data())
def test_a_box_comes_back_exact_to_a_pixel(
    placement: Placement, order: str, scale: int, data: st.DataObject
) -> None:
    box = placement.box
    x0, x1 = sorted(data.draw(st.tuples(*[st.floats(0, 0.95)] * 2)))
    y0, y1 = sorted(data.draw(st.tuples(*[st.floats(0, 0.95)] * 2)))
    corners = (box.x + x0 * box.width, box.y + y0 * box.height,
               box.x + (x1 + 0.05) * box.width, box.y + (y1 + 0.05) * box.height)
    (u0, v0), (u1, v1) = placement.to_model(*corners[:2]), placement.to_model(*corners[2:])
    if scale == 0:  # pixels of what the model gets
        across, down = (SquareEncoder.size,) * 2 if placement.padded else placement.seen
    else:
        across = down = scale
    told = [min(u0, u1) * across, min(v0, v1) * down, max(u0, u1) * across, max(v0, v1) * down]
    if order == 'yx':
        told = [told[1], told[0], told[3], told[2]]
    grounding = Grounding('find {object}', scale=scale, order=order)
    (*_, last), _ = ask(json.dumps([{'bbox_2d': told}]), placement, grounding, placement.padded)
    assert np.abs(np.subtract(last.spots[0].corners, corners)).max() < 0.01


def test_the_model_is_asked_in_its_own_way_and_greedily() -> None:
    whole = Placement(Box(0, 0, 640, 480))
    answer = 'cup(250,300),(500,700) and cup(10,0),(900,110)'
    grounding = Grounding('Detect {object} now', 'tags')
    (*_, last), model = ask(answer, whole, grounding)
    asked = model.request
    assert (asked.question, asked.sampling.temperature) == ('Detect the cup now', 0)
    (spot,) = last.spots  # the other one is in the padding
    assert (spot.label, spot.corners) == ('the cup', (160, 112, 320, 368))
    assert last.note == '1 places are beside the picture'


def test_what_tells_no_place_is_an_error_and_nothing_found_is_not() -> None:
    whole = Placement(Box(0, 0, 640, 480))
    (*_, last), _ = ask('[]', whole, Grounding('{object}'))
    assert last.spots == () and last.finish_reason
    with pytest.raises(AnswerFormError, match='On the table'):
        ask('On the table.', whole, Grounding('{object}'))


def test_a_model_that_cannot_names_some_that_can() -> None:
    with pytest.raises(NotSupportedError, match='scripted does not tell where') as raised:
        ask('[]', Placement(Box(0, 0, 9, 9)), None)
    assert 'qwen3-vl-2b' in raised.value.remedy or 'lfm2.5' in raised.value.remedy
