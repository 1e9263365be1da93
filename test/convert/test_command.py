# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The vlm-npu convert command, with the toolkit of test/convert/fake_rknn."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import simulated
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.engine.share import share_dir

TEST = Path(simulated.__path__[0]).parent
DEMO = str(share_dir() / 'resource' / 'demo_model' / 'vision_encoder.onnx')
PROFILE = str(TEST / 'simulated' / 'demo_rknpu.yaml')


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    paths = [str(TEST / 'convert' / 'fake_rknn'), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(paths))
    return ['convert', 'vision', DEMO, '-o', str(tmp_path / 'out.rknn'), '--model', PROFILE,
            '--platform', 'rk3588']


def test_progress_is_apart_from_the_result(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f'{tmp_path}/out.rknn: demo-rknpu for rk3588, 128 pixels to 64 tokens')
    assert 'output embedding: cos 1.0000000' in err
    assert (tmp_path / 'out.rknn').stat().st_size > 0


def test_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, '--json']) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures['model'], figures['platform']) == ('demo-rknpu', 'rk3588')
    assert figures['rknn']['dim'] == 128


@pytest.mark.parametrize(('fault', 'status', 'words'), [
    ('no pkg_resources', 3, 'vlm_npu_ros[convert]'),
    ('bgr', 4, 'The check failed'),
])
def test_exit_codes(
    fault: str, status: int, words: str, arguments: list[str],
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv('FAKE_RKNN', fault)
    assert main(arguments) == status
    out, err = capsys.readouterr()
    assert out == ''
    assert 'vlm-npu: ' in err and words in err


def test_unknown_model_is_an_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, '--model', 'nothing']) == 1
    assert main([*arguments, '--model', 'demo']) == 2
    assert 'backend onnx' in capsys.readouterr().err


def test_a_folder_that_can_not_be_made_is_an_error(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'k').touch()
    assert main([*arguments, '--keep', str(tmp_path / 'k')]) == 1
    assert capsys.readouterr().err.startswith('vlm-npu: [Errno 17] File exists')


@pytest.mark.parametrize('wrong', [
    ['--platform', 'rk9999'], ['--split', 'mlp'], ['--split', ':2'], ['--split', 'mlp:1'],
    ['--split', '(:2'], ['--size', 'big'],
])
def test_wrong_use(
    wrong: list[str], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match='2'):
        main([*arguments, *wrong])
    assert wrong[0] in capsys.readouterr().err


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match='0'):
        main(['convert', 'vision', '--help'])
    text = ' '.join(capsys.readouterr().out.split())
    assert '0 written, 1 an error, 2 wrong usage, 3 a toolkit is missing, 4 the check' in text


def test_splits_reach_the_stage(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*arguments, '--split', '/a:b/:2', '--split', 'MatMul:4', '--keep', str(tmp_path / 'k')])
    recipe = json.loads((tmp_path / 'k' / 'recipe.json').read_text())
    assert recipe['splits'] == [['/a:b/', 2], ['MatMul', 4]]
