# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from vlm_npu_ros.engine.choices.instructions import (
    choice_of_letter,
    Instructions,
    PLAIN,
)
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.models import known_models, load_profile
from vlm_npu_ros.engine.share import share_dir
from vlm_npu_ros.engine.types import GenerationRequest, NumberRange, UNCLEAR, YES_NO


def asked(instructions: Instructions, question: str, *choices: str) -> str:
    return instructions.apply(GenerationRequest(question, (), choices=choices))


def test_asks_for_yes_or_no() -> None:
    text = asked(Instructions(), 'is the path clear?', *YES_NO)
    assert text.startswith('is the path clear?')
    assert 'yes or no' in text and UNCLEAR in text


def test_names_the_choices() -> None:
    text = asked(Instructions(), 'which side?', 'left', 'right')
    assert text.startswith('which side?')
    assert 'left, right' in text and UNCLEAR in text


def test_names_the_unit() -> None:
    request = GenerationRequest('how warm?', (), number=NumberRange(unit='°C'))
    text = Instructions().apply(request)
    assert 'how warm?' in text and 'in °C' in text and UNCLEAR in text
    assert 'in °C' in Instructions().back(request)


def test_a_question_is_not_filled_in() -> None:
    question = 'what are {choices} and {question}?'
    assert question in asked(Instructions(), question, '{question}', 'b')
    assert asked(PLAIN, question, *YES_NO) == question


def test_every_profile_asks_the_question() -> None:
    for model in known_models():
        instructions = load_profile(model).instructions
        assert 'what?' in asked(instructions, 'what?', *YES_NO)
        assert 'what?' in asked(instructions, 'what?', 'red', 'blue')
        assert 'what?' in asked(instructions, 'what?')


def test_asks_back_with_letters() -> None:
    back = Instructions().back(GenerationRequest('?', (), choices=('on', 'off')))
    assert 'A) on B) off C) neither.' in back
    many = tuple(f'item {i}' for i in range(60))
    back = Instructions().back(GenerationRequest('?', (), choices=many))
    assert 'Z) item 25 AA) item 26' in back and back.count('BH)') == 1


def test_the_letter_decides() -> None:
    choices = ('on', 'off')
    replies = {
        'A': 0, 'b': 1, 'B)': 1, '**B**': 1, '(A).': 0, 'B) off': 1, 'A: on.': 0,
        'C': None, 'C) neither': None, 'D': None, '': None,
        'A lamp': None, 'A) off': None, 'off': None, 'A or B': None, 'A, B': None, 'AB': None,
        'A) on B) off C) neither': None, '是': None,
    }
    assert {reply: choice_of_letter(reply, choices) for reply in replies} == replies
    assert choice_of_letter('AB', tuple(map(str, range(60)))) == 27


def test_an_instruction_without_a_question_is_refused(tmp_path: Path) -> None:
    profile = (share_dir() / 'config' / 'models' / 'demo.yaml').read_text()
    (tmp_path / 'mine.yaml').write_text(profile.replace("choice: '{question}'", "choice: 'Well?'"))
    with pytest.raises(ModelFileError, match='must contain {question}'):
        load_profile(str(tmp_path / 'mine.yaml'))
