from __future__ import annotations

from pathlib import Path

import pytest
from vlm_npu_ros.engine.choices.instructions import Instructions, PLAIN, UNCLEAR, YES_NO
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.models import known_models, load_profile
from vlm_npu_ros.engine.share import share_dir


def test_asks_for_yes_or_no() -> None:
    asked = Instructions().apply('is the path clear?', YES_NO)
    assert asked.startswith('is the path clear?')
    assert 'yes or no' in asked and UNCLEAR in asked


def test_names_the_choices() -> None:
    asked = Instructions().apply('which side?', ('left', 'right'))
    assert asked.startswith('which side?')
    assert 'left, right' in asked and UNCLEAR in asked


def test_a_question_is_not_filled_in() -> None:
    question = 'what are {choices} and {question}?'
    assert question in Instructions().apply(question, ('{question}', 'b'))
    assert PLAIN.apply(question, YES_NO) == question


def test_every_profile_asks_the_question() -> None:
    for model in known_models():
        instructions = load_profile(model).instructions
        assert 'what?' in instructions.apply('what?', YES_NO)
        assert 'what?' in instructions.apply('what?', ('red', 'blue'))


def test_an_instruction_without_a_question_is_refused(tmp_path: Path) -> None:
    profile = (share_dir() / 'config' / 'models' / 'demo.yaml').read_text()
    (tmp_path / 'mine.yaml').write_text(profile.replace("choice: '{question}'", "choice: 'Well?'"))
    with pytest.raises(ModelFileError, match='must contain {question}'):
        load_profile(str(tmp_path / 'mine.yaml'))
