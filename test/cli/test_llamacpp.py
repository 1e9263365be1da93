# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu chat with two .gguf files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_llama import tiny_llama
from vlm_npu_ros.cli.main import main


@pytest.mark.parametrize('isolation', ['auto', 'none'])
def test_dialogue_about_a_picture(
    isolation: str, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In either order, since files say themselves which of the two they are."""
    model, mmproj = map(str, tiny_llama())
    asked = ['-q', 'what do you see?', '-q', 'and then?', '--image-tokens', '32', '--json']
    answers = []
    for files in ((model, mmproj), (mmproj, model))[:1 + (isolation == 'none')]:
        arguments = [*files, str(picture), '20', '512', '--threads', '1', '--isolation', isolation]
        assert main(['chat', *arguments, *asked]) == 0
        printed = capsys.readouterr()
        first, second = map(json.loads, printed.out.splitlines())
        assert first['answer'] and second['answer']
        assert 0 < second['prompt_tokens'] < 60 < first['prompt_tokens']
        answers.append((first['answer'], second['answer']))
    assert len(set(answers)) == 1


def test_what_is_missing_is_said(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, mmproj = map(str, tiny_llama())
    assert main(['chat', model, str(picture), '-q', 'what?']) == 1
    assert 'encoder_path (its mmproj .gguf)' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='2'):
        main(['chat', mmproj, mmproj, str(picture), '-q', 'what?'])
    assert 'two encoders' in capsys.readouterr().err
    assert main(['chat', model, '/typo.gguf', str(picture), '-q', 'what?']) == 1
    assert '/typo.gguf cannot be read' in capsys.readouterr().err
