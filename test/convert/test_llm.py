# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Conversion of language models, with a stand-in for rkllm-toolkit.

The toolkit is not on PyPI. The stand-in (fake_rkllm/) refuses what the manual of the real one
does not allow, and writes down what it was told.
"""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.convert import llm
from vlm_npu_ros.convert.errors import UsageError
from vlm_npu_ros.convert.llm import framed_texts, LlmConversion, QUESTIONS, request
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.images import PADDING
from vlm_npu_ros.engine.models import load_profile

FAKE = Path(__file__).parent / 'fake_rkllm'
TEXTS = [{'input': 'What is red?', 'target': 'A colour.'}]

Run = Callable[..., int]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / 'model'
    folder.mkdir()
    (folder / 'config.json').write_text(
        '{"model_type": "smolvlm", "text_config": {"hidden_size": 576}}'
    )
    header = b'{"w": {"dtype": "BF16", "shape": [2, 4], "data_offsets": [0, 16]}}'
    (folder / 'model.safetensors').write_bytes(
        len(header).to_bytes(8, 'little') + header + bytes(16)
    )
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / 'texts.json'
    path.write_text(json.dumps(TEXTS))
    return path


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    path = tmp_path / 'python'
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{FAKE}:$PYTHONPATH" exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def run(model: Path, tmp_path: Path) -> Run:
    (tmp_path / 'out').mkdir()
    return lambda *more: main([
        'convert', 'llm', str(model), '-o', str(tmp_path / 'out' / 'llm.rkllm'),
        '--model', 'smolvlm2-256m', *map(str, more),
    ])


def conversion(**changes: object) -> LlmConversion:
    options = {'profile': load_profile('qwen3-vl-2b'), **changes}
    return LlmConversion(Path('model'), Path('out.rkllm'), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize('changes, words', [
    ({'context': 4100}, 'multiple of 32'),
    ({'context': 16416}, 'to 16384 tokens'),
    ({'context': 0}, 'multiple of 32'),
    ({'context': -32}, 'multiple of 32'),
    ({'context': 16384, 'profile': load_profile('smolvlm2-256m')}, 'to 8192 tokens'),
    ({'dtype': 'w4a16'}, 'w8a8_g512, not w4a16'),
    ({'dtype': 'w8a8_g128', 'platform': 'rk3576'}, 'rk3576 knows'),
    ({'platform': 'rk3566'}, 'platform must be one of'),
    ({'cores': 4}, '1 to 3 NPU cores'),
    ({'cores': 2, 'platform': 'rk3562'}, '1 to 1 NPU cores'),
    ({'cores': -1}, '1 to 3'),
    ({'size': 392}, r'\[448, 640, 672, 896\]'),
    ({'pictures': Path('a'), 'texts': Path('b')}, 'not with both'),
    ({'profile': load_profile('demo')}, 'not one for an NPU'),
])
def test_wrong_arguments_are_told_before_anything_is_loaded(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        conversion(**changes).check()


@pytest.mark.parametrize('changes', [
    {'context': 16384}, {'context': 32}, {'dtype': 'w8a8_g512'}, {'cores': 1}, {'size': 896},
    {'platform': 'rk3562', 'dtype': 'w4a8_g32', 'cores': 1},
])
def test_right_arguments_pass(changes: dict[str, object]) -> None:
    conversion(**changes).check()


@pytest.mark.parametrize('platform, dtype', [(p, d) for p in llm.DTYPES for d in llm.DTYPES[p]])
def test_toolkit_takes_what_is_allowed(
    platform: str, dtype: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(FAKE)
    from rkllm.api import RKLLM

    options = conversion(platform=platform, dtype=dtype).build_options
    toolkit = RKLLM()
    assert toolkit.load_huggingface(str(model), device='cpu', dtype='float32') == 0
    assert toolkit.build(**options) == 0
    assert options['num_npu_core'] == llm.NPU_CORES[platform]


def test_makes_a_file(
    run: Run, model: Path, texts: Path, toolkit: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run('--rkllm-python', toolkit, '--texts', texts, '--context', '2048') == 0
    made = json.loads((tmp_path / 'out' / 'llm.rkllm').read_text())
    assert made == {
        'model': str(model), 'device': 'cpu', 'dtype': 'w8a8', 'algorithm': 'normal',
        'platform': 'rk3588', 'cores': 3, 'context': 2048, 'samples': ['text'],
    }
    assert [p.name for p in (tmp_path / 'out').iterdir()] == ['llm.rkllm']  # nothing is left
    out, err = capsys.readouterr()
    assert 'smolvlm2-256m for rk3588, w8a8, context 2048' in out
    assert 'Building ...' in err


def test_without_calibration_data_that_is_said(
    run: Run, toolkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run('--rkllm-python', toolkit, '--dtype', 'w8a8_g128', '--cores', '2') == 0
    made = json.loads((tmp_path / 'out' / 'llm.rkllm').read_text())
    assert (made['samples'], made['dtype'], made['cores']) == (None, 'w8a8_g128', 2)
    assert 'No calibration data' in capsys.readouterr().err


def test_wrong_use_is_exit_code_2(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run('--context', '100') == 2
    assert 'multiple of 32' in capsys.readouterr().err
    assert run('-o', tmp_path / 'nowhere' / 'llm.rkllm') == 2
    assert 'is not a folder' in capsys.readouterr().err


def test_profile_of_another_model_is_an_error(
    run: Run, toolkit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run('--rkllm-python', toolkit, '--model', 'smolvlm2-500m') == 1
    assert 'embeddings of 576 numbers, smolvlm2-500m of 960' in capsys.readouterr().err
    assert run('--rkllm-python', toolkit, '--model', 'qwen3-vl-2b') == 2
    assert 'of the family smolvlm' in capsys.readouterr().err


def test_missing_toolkit_is_exit_code_3(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 3
    text = ' '.join(capsys.readouterr().err.split())
    for words in (
        f'is not in {sys.executable}', 'not on PyPI', '-linux_x86_64.whl', 'release-v1.3.0',
        'Python 3.9 to 3.12', 'torch 2.6.0 and transformers 5.8.0', 'torch up to 2.4.0',
        '--rkllm-python', '--emit-script', 'vlm-npu convert vision',
    ):
        assert words in text
    assert list((tmp_path / 'out').iterdir()) == []
    assert run('--rkllm-python', '/nowhere/python') == 3
    assert '/nowhere/python cannot be run as a Python' in capsys.readouterr().err


@pytest.mark.parametrize('version, arch, wheel, fits', [
    ('3.9.2', 'x86_64', 'cp39-cp39', True),
    ('3.11.7', 'x86_64', 'cp311-cp311', True),
    ('3.13.0', 'x86_64', 'cp312-cp312', False),
    ('3.11.7', 'aarch64', 'cp312-cp312', False),
])
def test_wheel_is_named_that_fits(version: str, arch: str, wheel: str, fits: bool) -> None:
    advice = llm._advice(version, arch)
    assert f'rkllm_toolkit-1.3.0-{wheel}-linux_x86_64.whl' in advice
    assert ('cannot have it' in advice) != fits


def test_step_that_the_toolkit_refuses_is_an_error(
    run: Run, toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / 'out' / 'llm.rkllm'
    out.write_text('an older one')
    monkeypatch.setitem(llm.DTYPES, 'rk3588', ('w1a1',))
    assert run('--rkllm-python', toolkit, '--dtype', 'w1a1') == 1
    err = capsys.readouterr().err
    assert 'quantized_dtype w1a1 on rk3588' in err
    assert 'Building failed: rkllm-toolkit returned -1' in err
    assert [p.name for p in out.parent.iterdir()] == ['llm.rkllm']
    assert out.read_text() == 'an older one'


def test_memory_is_compared_with_what_is_free(
    run: Run, model: Path, toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / 'small').write_text('MemTotal: 2000 kB\nMemAvailable:  0 kB\n')
    monkeypatch.setattr(llm, 'MEMORY', tmp_path / 'small')
    assert run('--rkllm-python', toolkit) == 1
    assert 'GB are free here' in capsys.readouterr().err
    assert run('--rkllm-python', toolkit, '--force') == 0


def test_memory_is_that_of_the_weights_in_32_bits(model: Path) -> None:
    checkpoint = llm.Checkpoint.read(model)
    assert llm.needed_memory(checkpoint) == 4 * 8


def test_dry_run_tells_the_plan_and_does_nothing(
    run: Run, texts: Path, toolkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ('--dry-run', '--texts', texts)
    emitting = (*arguments, '--emit-script', tmp_path / 'script')
    for more, code in (
        (('--rkllm-python', toolkit, *arguments), 0), (emitting, 0), (arguments, 3),
    ):
        assert run(*more) == code
        job = json.loads(capsys.readouterr().out)
        assert job['build']['dataset'] == './inputs.json' and job['build']['max_context'] == 4096
    assert list((tmp_path / 'out').iterdir()) == [] and not (tmp_path / 'script').exists()


def test_emitted_script_converts_on_another_machine(
    run: Run, model: Path, texts: Path, toolkit: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run('--texts', texts, '--emit-script', tmp_path / 'script') == 0
    assert 'python convert_llm.py job.json MODEL_DIR' in capsys.readouterr().out
    other = tmp_path / 'other'
    (tmp_path / 'script').rename(other)
    assert sorted(p.name for p in other.iterdir()) == [
        'convert_llm.py', 'inputs.json', 'job.json',
    ]
    (entry,) = json.loads((other / 'inputs.json').read_text())
    assert entry['input'] == '<|im_start|>User:What is red?<end_of_utterance>\nAssistant:'
    elsewhere = shutil.copytree(model, tmp_path / 'elsewhere')

    def script(python: object) -> subprocess.CompletedProcess[str]:
        # No package of ours, as the program is alone there; from the folder's parent.
        command = [python, 'other/convert_llm.py', 'other/job.json', elsewhere]
        return subprocess.run(
            list(map(str, command)), cwd=tmp_path, capture_output=True, text=True,
            env={'PATH': '/usr/bin:/bin'},
        )

    outcome = script(toolkit)
    assert outcome.returncode == 0, outcome.stderr
    assert json.loads(outcome.stdout.splitlines()[-1])['file'] == str(other / 'llm.rkllm')
    made = json.loads((other / 'llm.rkllm').read_text())
    assert made['samples'] == ['text'] and made['model'] == str(elsewhere)
    without = script(sys.executable)
    assert without.returncode == 3 and 'rkllm-toolkit cannot be used' in without.stderr
    (elsewhere / 'config.json').write_text('{"model_type": "another"}')
    wrong = script(toolkit)
    assert wrong.returncode == 1 and 'not of the model' in wrong.stderr


def test_emitted_script_goes_into_a_new_folder_only(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run('--emit-script', tmp_path / 'out') == 2
    assert 'Name a new folder' in capsys.readouterr().err
    assert run('--emit-script', tmp_path / 'nowhere' / 'script') == 1
    assert 'nowhere' in capsys.readouterr().err


def test_emitted_script_is_whole_or_not_there(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'texts.json').write_text('nothing')
    before = sorted(tmp_path.iterdir())
    assert run('--texts', tmp_path / 'texts.json', '--emit-script', tmp_path / 'script') == 1
    assert 'not a list of questions and answers' in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_pictures_are_sent_as_a_board_sends_them(tmp_path: Path) -> None:
    folder = tmp_path / 'pictures'
    folder.mkdir()
    blue = np.zeros((30, 60, 3), np.uint8)
    blue[..., 0] = 255  # OpenCV's first colour
    for name in ('b.JPG', 'a.png'):
        cv2.imwrite(str(folder / name), blue)
    (folder / 'notes.txt').write_text('not a picture')
    profile = load_profile('qwen3-vl-2b')
    found = request(conversion(size=640), folder)
    assert found.pictures.shape == (2, 640, 640, 3)
    np.testing.assert_array_equal(found.pictures[0, 320, 320], (0, 0, 255))
    assert (found.pictures[:, 0] == PADDING).all()
    assert found.prompts[1] == (
        profile.template.system + profile.template.prefix + '<|vision_start|>'
        + '<|image_pad|>' * 400 + '<|vision_end|>' + QUESTIONS[1] + profile.template.postfix
    )
    assert (found.content, found.framed) == ('<|image_pad|>', True)
    assert found.mean == list(profile.image.mean) and found.std == list(profile.image.std)


def test_template_of_the_model_itself_is_left_to_its_tokenizer(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((8, 8, 3), np.uint8))
    found = request(conversion(profile=load_profile('deepseek-ocr')), tmp_path)
    assert not found.framed
    assert found.prompts[0].endswith(QUESTIONS[0])


def test_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='has 0 JPEG'):
        request(conversion(), tmp_path)


def test_pictures_need_torch(
    run: Run, toolkit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'pictures').mkdir()
    cv2.imwrite(str(tmp_path / 'pictures' / 'a.png'), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / 'no' / 'torch').mkdir(parents=True)
    (tmp_path / 'no' / 'torch' / '__init__.py').write_text('raise ImportError("no torch here")')
    without = tmp_path / 'without'
    path = f'{tmp_path / "no"}:$PYTHONPATH'
    without.write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec {toolkit} "$@"\n')
    without.chmod(0o755)
    assert run('--rkllm-python', without, '--pictures', tmp_path / 'pictures') == 3
    err = capsys.readouterr().err
    assert 'no torch here' in err and 'calibrate with texts' in err


def test_family_whose_pictures_are_not_known_is_told(
    run: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / 'config.json').write_text('{"model_type": "internvl_chat"}')
    assert run('--pictures', tmp_path, '--model', 'internvl3-1b') == 1
    assert 'family internvl_chat' in capsys.readouterr().err


@pytest.mark.parametrize('text', [
    '', '[]', '{}', '[{"input": "a"}]', '[{"input": 1, "target": 2}]',
])
def test_wrong_file_of_texts_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / 'texts.json'
    path.write_text(text)
    with pytest.raises(ModelFileError, match='not a list of questions and answers'):
        framed_texts(path, None)


def test_texts_are_left_alone_without_a_template(texts: Path) -> None:
    assert framed_texts(texts, None) == TEXTS
