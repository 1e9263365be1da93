# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""vlm-npu video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import PROMPT, Run
from vlm_npu_ros.cli.main import main


def test_dialogue_about_a_video(vlm_npu: Run, video: Path, picture: Path) -> None:
    with vlm_npu('video', video, '--frames', '3') as session:
        start = session.expect(PROMPT)
        assert 'Encoding frames' in start and '3/3' in start  # the progress bar
        assert 'clip.mp4: 3 frames from 0.0 s to 2.9 s, encoded in' in start
        assert '192 tokens' in start
        assert 'tokens read' in session.ask('what do you see?')
        assert '3 frames' in session.ask('<image> what is it?')
        assert 'scene.png, encoded in' in session.ask(f'<image> {picture}')
        session.press('exit\r')
        assert session.end() == 0


def test_frames_that_do_not_fit_are_left_out_once(
    video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = ['-q', 'what do you see?', '-q', 'where is it?']
    assert main(['video', str(video), *questions]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err.count('Left out 3 of 8 frames') == err.count('Left out') == 1
    assert main(['video', str(video), *questions, '--json']) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(first['frame_seconds']) == 5
    assert first['frame_seconds'][0] == 0.0 and first['frame_seconds'][-1] == pytest.approx(2.9)
    assert first['image_tokens'] == 5 * 64
    assert second['image_tokens'] == 0 < second['prompt_tokens'] < 32


def test_pictures_are_frames(
    picture: Path, other_picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['video', str(picture), str(other_picture), '-q', 'what do you see?']) == 0
    assert 'scene.png to other scene.png: 2 frames' in capsys.readouterr().err


def test_on_a_simulated_board(vlm_npu: Run, video: Path, board: list[str]) -> None:
    encoder, language_model, *options = board
    arguments = ['video', encoder, language_model, video, *options, '--frames', '3']
    with vlm_npu(*arguments, '-q', 'what do you see?') as session:
        assert session.end() == 0
        assert 'demo-rknpu loaded' in session.text and 'tokens read' in session.text


@pytest.mark.parametrize('arguments, words', [
    (['/nowhere.mp4'], '/nowhere.mp4 cannot be read'),
    (['{broken}'], 'broken.avi is not a picture, and not a video that OpenCV can read'),
    (['{video}', '{video}'], 'Give a video alone'),
    (['{video}', '--frames', '0'], '0 frames'),
])
def test_errors_are_sentences(
    arguments: list[str], words: str, video: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broken = tmp_path / 'broken.avi'
    broken.write_bytes(b'RIFF')
    filled = [a.format(video=video, broken=broken) for a in arguments]
    assert main(['video', *filled]) == 1
    out, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert not out and line.startswith('vlm-npu: ') and words in line
