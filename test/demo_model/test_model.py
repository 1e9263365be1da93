# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The shipped model: what it makes of several turns and of several frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chat import ChatModel
from dialogues import FOLLOW_UP_KINDS, random_dialogue
import evaluate_locating
import evaluate_typed
from frames import encode
from made_scenes import scene_of, thing
import numpy as np
import pytest
from sequences import random_sequence, random_sequence_question
from vlm_npu_ros.demo.questions import random_question
from vlm_npu_ros.demo.scenes import random_scene, render, Scene
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.placement import Box, Placement, Region
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.share import share_dir
from vlm_npu_ros.engine.types import GenerationRequest, Turn


@pytest.fixture(scope='module')
def engine() -> LocalEngine:
    return load_engine(EngineSettings(threads=1))


def test_it_tells_what_changes_in_several_frames(engine: LocalEngine) -> None:
    # Far below what the model can do, far above what it could guess.
    rng = np.random.default_rng(0)
    right = 0
    for _ in range(30):
        frames = random_sequence(rng)
        question = random_sequence_question(frames, rng, 'what_changed')
        images = tuple(engine.encode(render(frame, 320, 240)) for frame in frames)
        right += engine.answer(GenerationRequest(question.text, images, 64)) == question.answer
    assert right >= 22


def test_it_sees_what_is_small_in_a_region(engine: LocalEngine) -> None:
    """A scene that takes a tenth of each side of the picture, against a plain wall."""
    asked = seed = right = right_of_whole = 0
    while asked < 40:
        seed += 1
        rng = np.random.default_rng((23, seed))
        scene = random_scene(rng)
        question = random_question(scene, rng, 'colour')
        if question.answer.startswith("I can't"):  # it asks about something else
            continue
        asked += 1
        picture = np.full((1200, 1600, 3), rng.integers(60, 200, 3), np.uint8)
        x, y = int(rng.integers(1440)), int(rng.integers(1080))
        picture[y:y + 120, x:x + 160] = render(scene, 160, 120)
        part = Region(x, y, 160, 120).box(1600, 1200).cut(picture)
        answers = [
            engine.answer(GenerationRequest(question.text, (engine.encode(rgb),), 64))
            for rgb in (picture, part)
        ]
        right_of_whole += answers[0] == question.answer
        right += answers[1] == question.answer
    assert right >= 38 and right_of_whole < 32


@pytest.fixture
def start_chat() -> Callable:
    folder = share_dir() / 'resource' / 'demo_model'
    model = ChatModel(folder)

    def start(frames: tuple[Scene, ...]):
        return model.chat(encode(frames, folder / 'vision_encoder.onnx', 320, 240))

    return start


def test_it_knows_what_a_question_refers_back_to(start_chat: Callable) -> None:
    rng = np.random.default_rng(1)
    right = asked = 0
    while asked < 40:
        frames = (random_scene(rng),)
        chat = start_chat(frames)
        for question in random_dialogue(frames, rng, 6):
            answer = chat.ask(question.text)
            if question.kind in FOLLOW_UP_KINDS:
                asked += 1
                right += answer == question.answer
    assert right >= 0.8 * asked


def test_four_frames_and_ten_turns_fit_into_its_context(start_chat: Callable) -> None:
    rng = np.random.default_rng(2)
    frames = random_sequence(rng, 4)
    chat = start_chat(frames)
    for question in random_dialogue(frames, rng, 10):
        chat.ask(question.text)
    assert chat.length <= 512


def test_it_decides_for_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('sys.argv', ['evaluate_typed.py', '--scenes', '50'])
    assert evaluate_typed.main() == 0


def test_it_tells_where_things_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('sys.argv', ['evaluate_locating.py', '--scenes', '40'])
    assert evaluate_locating.main() == 0


def test_dialogues_and_places_leave_each_other_alone(engine: LocalEngine) -> None:
    scene = scene_of(thing('red ball', 'left'), thing('blue cone', 'right', 'far'))
    image = engine.encode(render(scene, 320, 240))
    turns = tuple(Turn(f'{i}. what do you see?', 'I see a red ball.') for i in range(99))
    talk = GenerationRequest('what do you see?', (image,))
    said = engine.answer(talk)
    place = GenerationRequest('the red ball', (image,), locate=Placement(Box(0, 0, 320, 240)))
    *_, alone = engine.generate(place)
    *_, later = engine.generate(replace(place, turns=turns))
    assert alone.spots == later.spots and len(alone.spots) == 1
    assert engine.tokens(place) == engine.tokens(replace(place, turns=turns)) < 80
    assert engine.answer(talk) == said
