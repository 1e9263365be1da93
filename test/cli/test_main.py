# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The vlm-npu command: its arguments and what it says to wrong ones."""

from __future__ import annotations

from pathlib import Path
import subprocess

import pytest
from terminal import VLM_NPU
from vlm_npu_ros.cli.main import main


def test_answers_given_questions(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['chat', str(picture), '-q', 'what do you see?', '-q', 'is the path clear?']) == 0
    out, err = capsys.readouterr()
    describes, path = out.splitlines()
    assert describes.startswith('I see')
    assert path.split(',')[0] in ('Yes', 'No')
    assert 'first token' in err


@pytest.mark.parametrize('place', [0, 2])
def test_options_may_come_first(
    place: int, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['-q', 'what do you see?', '--quiet']
    arguments.insert(place, str(picture))
    assert main(['chat', *arguments]) == 0
    out, err = capsys.readouterr()
    assert out.startswith('I see') and not err


def test_reads_questions_from_a_pipe(picture: Path) -> None:
    outcome = subprocess.run(
        [*VLM_NPU, 'chat', str(picture), '--quiet'],
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
        (['chat', '/nowhere.png'], '/nowhere.png cannot be read'),
        (['chat', '/dev/null'], '/dev/null is not a picture'),
        (['chat', '/dev/zero'], '/dev/zero is not a picture'),
        (['chat', '{large}'], 'up to 256000000 pixels'),
        (['chat', '{broken}'], 'cut short'),
        (['chat', '{picture}', '--model', 'unknown'], "no model profile 'unknown'"),
        (['chat', '{picture}', '-q', 'what?', '--new-tokens', '0'], 'max_new_tokens'),
        (['chat', '{picture}', '-q', 'what?', '--new-tokens', '99999'], 'context'),
        (['chat', '{picture}', '-q', '  '], 'question is empty'),
        (['chat', '{picture}', '/nowhere.onnx', '/no.onnx'], '/nowhere.onnx'),
        (['chat', '{picture}', '/nowhere.rknn', '/nowhere.rkllm'], '/nowhere.rkllm cannot'),
        (['chat', '{picture}', '/nowhere.rknn'], 'language_model_path'),
    ],
)
def test_errors_are_sentences(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    arguments: list[str], words: str,
) -> None:
    data = picture.read_bytes()
    broken, large = tmp_path / 'broken.png', tmp_path / 'large.png'
    broken.write_bytes(data[:-20])
    large.write_bytes(data[:16] + (100_000).to_bytes(4, 'big') * 2 + data[24:])
    filled = [a.format(picture=picture, broken=broken, large=large) for a in arguments]
    assert main(filled) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize('arguments, words', [
    (['chat', 'a.png', 'b.png'], 'one picture at a time'),
    (['chat', 'a.png', 'a.rknn', 'b.rknn'], 'two encoders'),
    (['chat', 'a.png', 'a.rknn', '--encoder', 'b.rknn'], 'two encoders'),
    (['chat', 'a.png', 'a.rkllm', '--language-model', 'b.rkllm'], 'contradict'),
    (['chat', 'a.png', 'a.rknn', 'b.rkllm', '20', '--new-tokens', '30'], 'contradict'),
    (['chat', 'a.png', 'a.rknn', 'b.rkllm', '20', '4096', '3'], 'two numbers at most'),
    (['video'], 'name a video'),
    (['video', 'a.mp4', '--frames', 'many'], 'invalid int'),
])
def test_wrong_use(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert words in capsys.readouterr().err
