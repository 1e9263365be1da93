# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The tokenizer's words: those of the phrasings, whole; held-out phrasings are not trained on."""

from __future__ import annotations

import json
from pathlib import Path
import re

from dialogues import FOLLOW_UP_KINDS
from locating import BINS, LOCATING, locating_texts, random_place_question, square_box
import numpy as np
from sequences import SEQUENCE_KINDS
from vlm_npu_ros.demo.questions import KINDS, random_question
from vlm_npu_ros.demo.scenes import random_scene
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vlm_npu_ros.engine.share import share_dir
from vocabulary import save, tokenizer_of, training_texts

TOKENIZER = tokenizer_of(training_texts())


def test_words_of_texts_become_pieces_with_and_without_a_space() -> None:
    tokenizer = tokenizer_of(["I can't see 12 balls.", 'No ball, no box!'])
    assert tokenizer.pieces == sorted(tokenizer.pieces)
    assert {'balls', ' balls', ' ball', 'box', ' box', ' I', ' 1'} <= set(tokenizer.pieces)
    assert not {'I', '.', '!', '12', ''} & set(tokenizer.pieces)
    assert len(tokenizer.encode('no balls ball box')) == 4


def test_saved_tokenizer_is_the_same_and_readable(tmp_path: Path) -> None:
    path, pieces = tmp_path / 'tokenizer.json', ['ball', "can't", '球', '🤖']
    save(Tokenizer(pieces), path)
    assert Tokenizer.load(path).pieces == pieces
    assert '球' in path.read_text(encoding='utf-8')
    assert json.loads(path.read_bytes()) == {'pieces': pieces}


def test_the_shipped_tokenizer_has_the_words_of_the_phrasings() -> None:
    folder = share_dir() / 'resource' / 'demo_model'
    shipped = Tokenizer.load(folder / 'tokenizer.json')
    assert set(TOKENIZER.pieces) <= set(shipped.pieces)
    locating = Tokenizer.load(folder / 'locating_tokenizer.json')
    assert locating.pieces[:len(shipped.pieces)] == shipped.pieces
    assert {*tokenizer_of(locating_texts()).pieces, *BINS} <= set(locating.pieces)


def test_held_out_phrasings_are_not_trained_on() -> None:
    for kinds in (KINDS, SEQUENCE_KINDS, FOLLOW_UP_KINDS, LOCATING):
        trained = {phrasing for kind in kinds.values() for phrasing in kind.train}
        for kind in kinds.values():
            assert kind.held_out, kind.name
            assert not trained & set(kind.held_out), kind.name


def test_the_words_of_held_out_phrasings_are_trained_on() -> None:
    known = {*TOKENIZER.pieces, *tokenizer_of(locating_texts()).pieces}
    for kind in (SEQUENCE_KINDS | FOLLOW_UP_KINDS | LOCATING).values():
        for phrasing in kind.held_out:
            words = re.findall(r'\w\w+', re.sub(r'{\w+}', '', phrasing))
            assert set(words) <= known, phrasing


def test_the_words_of_held_out_questions_are_whole_tokens() -> None:
    """All but those of refusals: their point is that they were never seen."""
    rng = np.random.default_rng(4)
    for _ in range(2000):
        question = random_question(random_scene(rng), rng, held_out=True)
        if question.kind == 'other':
            continue
        words = re.findall(r"\w+(?:'\w+)?", question.text)
        marks = re.findall(r"[^\w\s']", question.text)
        assert len(TOKENIZER.encode(question.text)) <= len(words) + 2 * len(marks) + 1


def test_questions_and_answers_survive_the_tokenizer() -> None:
    rng = np.random.default_rng(6)
    for _ in range(1000):
        question = random_question(random_scene(rng), rng, held_out=True)
        for text in (question.text, question.answer):
            assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_boxes_are_told_in_pixels_of_the_square() -> None:
    rng = np.random.default_rng(7)
    boxes = 0
    for _ in range(300):
        scene, aspect = random_scene(rng), float(rng.choice((9 / 16, 3 / 4)))
        question = random_place_question(scene, aspect, rng)
        numbers = [int(n) for n in re.findall(r'<(\d+)>', question.answer)]
        assert len(numbers) == 4 * len(question.about)
        assert (question.answer == 'none') == (not question.about)
        for thing, *told in zip(question.about, *(numbers[i::4] for i in range(4)), strict=True):
            np.testing.assert_allclose(told, square_box(scene, thing, aspect), atol=0.5)
            left, top, right, bottom = told
            assert left < right and 64 * (1 - aspect) - 1 < top < bottom <= 64 * (1 + aspect) + 1
            boxes += 1
    assert boxes > 100
