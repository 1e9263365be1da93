# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The conversion of encoders as a whole, with a toolkit of 150 lines (fake_rknn)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import json
import os
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import helper, TensorProto
import pytest
from vlm_npu_ros.convert import rknn
from vlm_npu_ros.convert.errors import (
    CheckFailedError,
    ConversionError,
    ToolkitMissingError,
    UsageError,
)
from vlm_npu_ros.convert.rknn import agree, compare, require
from vlm_npu_ros.convert.stages import Progress
from vlm_npu_ros.convert.vision import convert_vision, VisionJob
from vlm_npu_ros.engine.errors import ImageError, ModelFileError
from vlm_npu_ros.engine.model_files.profiles import find_model
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.share import share_dir

TEST = Path(__file__).resolve().parents[1]
DEMO = share_dir() / 'resource' / 'demo_model' / 'vision_encoder.onnx'
FOUR = TEST / 'data' / 'tiny_four.onnx'
PROFILE = """\
name: tiny-four
backend: rknpu
files: tiny
context: 512
image:
  tokens: {32: 16}
  outputs: 4
  dim: 8
  mean: [0.5, 0.4, 0.3]
  std: [0.25, 0.3, 0.35]
tags: {start: '<s>', end: '</s>', content: '<c>'}
min_runtime: '1.2.3'
"""


@pytest.fixture(autouse=True)
def fake_toolkit(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(Path(__file__).parent / 'fake_rknn')
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([folder, os.environ.get('PYTHONPATH', '')]))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let the stage run in this process, which is ten times as fast."""
    def run(module: str, arguments: list[str], python: str, progress: Progress) -> object:
        graph, _, recipe, _, made, _, *pictures = map(Path, arguments)
        assert module == 'rknn'
        return rknn.convert(
            graph, rknn.Recipe(**json.loads(recipe.read_text())), pictures, made, progress)

    monkeypatch.setattr('vlm_npu_ros.convert.vision.run_stage', run)
    monkeypatch.chdir(tmp_path_factory.mktemp('work'))


@pytest.fixture
def job(tmp_path: Path) -> VisionJob:
    profile = tmp_path / 'tiny.yaml'
    profile.write_text(PROFILE)
    return VisionJob(FOUR, tmp_path / 'out.rknn', str(profile))


@pytest.fixture
def faulty(job: VisionJob, monkeypatch: pytest.MonkeyPatch) -> Callable:
    def convert(fault: str) -> ConversionError:
        monkeypatch.setenv('FAKE_RKNN', fault)
        with pytest.raises(ConversionError) as caught:
            convert_vision(job, ignore)
        assert os.listdir(job.output.parent) == ['tiny.yaml']
        return caught.value
    return convert


def ignore(line: str) -> None:
    pass


def test_file_is_written_and_says_what_it_is(job: VisionJob) -> None:
    lines: list[str] = []
    figures = convert_vision(job, lines.append)
    found = RknnFile.read(job.output)
    assert (found.size, found.outputs, found.platform) == (32, ((16, 8),) * 4, 'rk3588')
    assert np.allclose(found.mean, 255 * np.array([0.5, 0.4, 0.3]))
    profile = find_model('auto', job.output, Path('x.rkllm'), found)
    assert (profile.name, profile.tags.content) == ('tiny-four', '<c>')
    assert figures['rknn']['pictures'] == 3
    agreement = figures['rknn']['agreement']
    assert [output['name'] for output in agreement] == ['4820', '1669', '2720', '3771']
    assert all(output['cosine'] > 0.999999 for output in agreement)
    assert sum('cos 1.0000000, largest error' in line for line in lines) == 4
    assert sorted(os.listdir(job.output.parent)) == ['out.rknn', 'tiny.yaml']


def test_encoder_of_bytes_is_cut_where_its_layers_begin(job: VisionJob) -> None:
    # Else the toolkit dies.
    demo = str(TEST / 'simulated' / 'demo_rknpu.yaml')
    figures = convert_vision(replace(job, source=DEMO, model=demo), ignore)
    assert RknnFile.read(job.output).mean == (127.5,) * 3
    assert figures['rknn']['agreement'][0]['cosine'] > 0.999999


def test_native_death_is_told(faulty: Callable) -> None:
    assert 'died of SIGABRT\n  RKNN: [02:45:04.231] Not Support Dtype' in str(faulty('abort'))


def test_return_code_is_an_error_with_the_printed_reason(faulty: Callable) -> None:
    error = faulty('build')
    assert type(error) is ConversionError
    assert str(error).endswith(
        'exit code 1:\n  build: The graph is odd!\n  rknn-toolkit2, build returned -1')


@pytest.mark.usefixtures('in_process')
def test_exception_is_an_error_with_its_reason(job: VisionJob, tmp_path: Path) -> None:
    profile = PROFILE.replace('tiny-four', 'deepseek-ocr').replace("'<c>'", f"'{'é' * 600}'")
    (tmp_path / 'tiny.yaml').write_text(profile)
    with pytest.raises(ConversionError, match='metadata of deepseek-ocr has 1[0-9]{3} bytes'):
        convert_vision(job, ignore)


@pytest.mark.usefixtures('in_process')
def test_no_result_is_an_error(faulty: Callable) -> None:
    assert 'rknn-toolkit2, inference returned None' in str(faulty('none'))


@pytest.mark.parametrize(('fault', 'words'), [
    ('bgr', 'to a cosine of 0.9999: output 4820: cos 0'),
    ('twice', 'to a cosine of 0.9999: output 4820: cos'),
    ('nan', 'output 3771: cos nan'),
    ('half', 'output 4820 is (1, 8), but (16, 8) in the graph'),
    ('not folded', 'normalisation of the pixels is not in the written file'),
    ('no labels', "other metadata: ''"),
    ('platform', 'the chip is rk3562 by the file, but rk3588 by the board'),
])
@pytest.mark.usefixtures('in_process')
def test_wrong_results_fail_the_check(fault: str, words: str, faulty: Callable) -> None:
    error = faulty(fault)
    assert type(error) is CheckFailedError
    assert words in str(error)


@pytest.mark.parametrize(('fault', 'words'), [
    ('no pkg_resources', "No module named 'pkg_resources'"),
    ('no onnx.mapping', 'has no onnx.mapping'),
])
def test_older_libraries_are_asked_for(fault: str, words: str, faulty: Callable) -> None:
    error = faulty(fault)
    assert type(error) is ToolkitMissingError
    assert 'onnx 1.18, setuptools < 81' in str(error) and words in str(error)


def test_toolkit_that_is_not_there(job: VisionJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('PYTHONPATH')
    with pytest.raises(ToolkitMissingError, match=r"named 'rknn'(?s:.*)vlm_npu_ros\[convert\]"):
        convert_vision(job, ignore)


@pytest.mark.usefixtures('in_process')
def test_operator_that_the_graph_lacks_is_not_named_to_the_toolkit(
    job: VisionJob, tmp_path: Path
) -> None:
    # This recipe has op_target Gather, and the toolkit refuses what is not there.
    (tmp_path / 'tiny.yaml').write_text(PROFILE.replace('tiny-four', 'qwen2.5-vl-3b'))
    convert_vision(job, ignore)
    assert '"family": "qwen2_5_vl"' in RknnFile.read(job.output).custom_string


@pytest.mark.parametrize(('old', 'new', 'words'), [
    ('outputs: 4', 'outputs: 1', 'outputs is 4, but 1 by the profile'),
    ('dim: 8', 'dim: 16', 'dim is 8, but 16 by the profile'),
])
@pytest.mark.usefixtures('in_process')
def test_model_of_another_profile_fails_the_check(
    old: str, new: str, words: str, job: VisionJob, tmp_path: Path
) -> None:
    (tmp_path / 'tiny.yaml').write_text(PROFILE.replace(old, new))
    with pytest.raises(CheckFailedError, match=words):
        convert_vision(job, ignore)


@pytest.mark.usefixtures('in_process')
def test_size_and_tokens_are_compared_with_the_profile(job: VisionJob, tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match='size is 32, but 64 by the profile'):
        convert_vision(replace(job, size=64), ignore)
    (tmp_path / 'tiny.yaml').write_text(PROFILE.replace('32: 16', '32: 4'))
    with pytest.raises(CheckFailedError, match='tokens at 32 pixels is 16 by the file, but 4'):
        convert_vision(job, ignore)


@pytest.mark.usefixtures('in_process')
def test_extra_input_is_refused(job: VisionJob, tmp_path: Path) -> None:
    # The toolkit converts such a graph without a word.
    model = onnx.load(FOUR)
    model.graph.input.append(helper.make_tensor_value_info('grid', TensorProto.FLOAT, (1, 3)))
    onnx.save(model, tmp_path / 'two.onnx')
    with pytest.raises(ConversionError, match=r'2 inputs \(pixel, grid\)'):
        convert_vision(replace(job, source=tmp_path / 'two.onnx'), ignore)


@pytest.mark.usefixtures('in_process')
def test_pictures_of_your_own(job: VisionJob, tmp_path: Path) -> None:
    folder = tmp_path / 'pictures'
    folder.mkdir()
    own = replace(job, pictures=folder)
    rng = np.random.default_rng(0)
    for i, name in enumerate(['a.png', 'b.JPG', 'notes.txt', 'c.jpeg']):
        if i == 3:
            with pytest.raises(UsageError, match='has 2 JPEG and PNG pictures, 3 are needed'):
                convert_vision(own, ignore)
        picture = rng.integers(0, 256, (40, 60, 3), np.uint8)
        (folder / name).write_bytes(cv2.imencode('.jpg' if i else '.png', picture)[1].tobytes())
    assert convert_vision(own, ignore)['rknn']['pictures'] == 3
    (folder / 'd.png').write_text('no picture')
    with pytest.raises(ImageError, match='is no picture'):
        convert_vision(own, ignore)
    with pytest.raises(UsageError, match='is not a folder of pictures'):
        convert_vision(replace(job, pictures=tmp_path / 'none'), ignore)


@pytest.mark.usefixtures('in_process')
def test_files_between_the_stages_can_be_kept(job: VisionJob, tmp_path: Path) -> None:
    convert_vision(replace(job, keep=tmp_path / 'a' / 'kept'), ignore)
    assert {'recipe.json', 'vision.rknn'} <= set(os.listdir(tmp_path / 'a/kept'))


@pytest.mark.parametrize(('changes', 'words'), [
    ({'source': Path('nothing.onnx')}, 'nothing.onnx is neither the folder'),
    ({'source': Path(__file__)}, 'test_vision.py is neither the folder'),
    ({'output': Path('no/folder/out.rknn')}, 'folder .*/no/folder does not exist'),
    ({'model': 'demo'}, 'profile demo is for the backend onnx'),
])
@pytest.mark.usefixtures('in_process')
def test_jobs_that_can_not_be_done(changes: dict[str, object], words: str, job: VisionJob) -> None:
    with pytest.raises(UsageError, match=words):
        convert_vision(replace(job, **changes), ignore)


@pytest.mark.usefixtures('in_process')
def test_unknown_profile_and_empty_checkpoint(job: VisionJob, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no model profile 'nothing'"):
        convert_vision(replace(job, model='nothing'), ignore)
    with pytest.raises(ModelFileError, match='config.json'):
        convert_vision(replace(job, source=tmp_path), ignore)


@pytest.mark.usefixtures('in_process')
def test_output_is_never_half_there(job: VisionJob) -> None:
    job.output.mkdir()
    with pytest.raises(ConversionError, match='out.rknn cannot be written'):
        convert_vision(job, ignore)
    assert sorted(os.listdir(job.output.parent)) == ['out.rknn', 'tiny.yaml']


def test_worst_of_the_pictures_counts() -> None:
    right = np.array([3.0, 4.0])
    (agreement,) = compare(['a'], [[right]] * 3, [[right], [right[::-1]], [right]])
    assert agreement.cosine == pytest.approx(24 / 25)
    assert agreement.max_error == 1
    assert agreement.rms == pytest.approx(12.5**0.5)
    with pytest.raises(CheckFailedError, match=r'output a: cos 0\.96.* 1\.00e\+00 \(28\.28%'):
        require([agreement])
    require([agree('a', right, right * 1.001)])


def test_stage_runs_in_the_given_python(job: VisionJob, tmp_path: Path) -> None:
    with pytest.raises(ToolkitMissingError, match='/absent cannot be run'):
        convert_vision(replace(job, python=str(tmp_path / 'absent')), ignore)
