"""The vlm-npu command."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import cv2
import numpy as np
import pytest
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.demo.scenes import random_scene, render


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Give a scene as a PNG file."""
    path = tmp_path / 'scene.png'
    rgb = render(random_scene(np.random.default_rng(3)))
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


def test_answers_given_questions(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['chat', str(picture), '-q', 'what do you see?', '-q', 'is the path clear?']) == 0
    out, err = capsys.readouterr()
    describes, path = out.splitlines()
    assert describes.startswith('I see')
    assert path.split(',')[0] in ('Yes', 'No')
    assert 'first token' in err


def test_reads_questions_from_a_pipe(picture: Path) -> None:
    outcome = subprocess.run(
        [sys.executable, '-m', 'vlm_npu_ros.cli.main', 'chat', str(picture), '--quiet'],
        input='what do you see?\n\nhow many objects are there?\n',
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(outcome.stdout.splitlines()) == 2
    assert outcome.stderr == ''


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['chat', '/nowhere.png'], '/nowhere.png can not be read'),
        (['chat', '/dev/null'], 'JPEG'),
        (['chat', '{picture}', '--model', 'unknown'], "no model profile 'unknown'"),
        (['chat', '{picture}', '-q', 'what?', '--new-tokens', '0'], 'max_new_tokens'),
        (['chat', '{picture}', '-q', 'what?', '--new-tokens', '99999'], 'context'),
        (['chat', '{picture}', '-q', '  '], 'question is empty'),
    ],
)
def test_errors_are_sentences(
    picture: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    filled = [a.format(picture=picture) for a in arguments]
    assert main(filled) == 1
    assert words in capsys.readouterr().err
