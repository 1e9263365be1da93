# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Two encoders through the real rknn-toolkit2 and its simulator, and the toolkit's pitfalls.

`make test-convert` runs this, in an environment of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
from onnx import helper, TensorProto
import pytest
from vlm_npu_ros.convert import rknn
from vlm_npu_ros.convert.errors import CheckFailedError, ConversionError, ToolkitMissingError
from vlm_npu_ros.convert.metadata import custom_string
from vlm_npu_ros.convert.pictures import pictures_in
from vlm_npu_ros.convert.prologue import Picture
from vlm_npu_ros.convert.stages import run_stage
from vlm_npu_ros.convert.vision import convert_vision, VisionJob
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.image_files import read_image
from vlm_npu_ros.engine.images import letterbox
from vlm_npu_ros.engine.model_files.profiles import find_model
from vlm_npu_ros.engine.model_files.rknn import RknnFile

REPOSITORY = Path(__file__).resolve().parents[3]
PICTURES = REPOSITORY / 'resource' / 'pictures'
DEMO = REPOSITORY / 'resource' / 'demo_model' / 'vision_encoder.onnx'
DEMO_PROFILE = str(REPOSITORY / 'test' / 'simulated' / 'demo_rknpu.yaml')
FOUR = REPOSITORY / 'test' / 'data' / 'tiny_four.onnx'
RECIPE = rknn.Recipe('rk3588', (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

# rknn-toolkit2 imports pkg_resources.
pytestmark = pytest.mark.filterwarnings('ignore:pkg_resources is deprecated')


@pytest.fixture
def four(tmp_path: Path) -> VisionJob:
    profile = tmp_path / 'tiny.yaml'
    profile.write_text("""\
name: tiny-four
backend: rknpu
files: tiny
context: 512
image: {tokens: {32: 16}, outputs: 4, dim: 8, mean: [0.48, 0.45, 0.40], std: [0.26, 0.27, 0.28]}
tags: {start: '<s>', end: '</s>', content: '<画像>'}
min_runtime: '1.2.3'
""")
    return VisionJob(FOUR, tmp_path / 'four.rknn', str(profile))


@pytest.fixture(scope='module')
def toolkit() -> Iterator[Any]:
    made = rknn.open_toolkit()
    rknn.build(made, DEMO, Picture.of(DEMO), RECIPE, {}, ignore)
    yield made
    made.release()


@pytest.fixture
def fresh() -> Iterator[Any]:
    made = rknn.open_toolkit()
    yield made
    made.release()


def ignore(line: str) -> None:
    pass


def stage(graph: Path, folder: Path, recipe: dict[str, object] | None = None) -> object:
    (folder / 'recipe.json').write_text(json.dumps({
        'platform': 'rk3588', 'mean': [0.5] * 3, 'std': [0.5] * 3, **(recipe or {})}))
    return run_stage('rknn', [
        str(graph), '--recipe', str(folder / 'recipe.json'), '-o', str(folder / 'out.rknn'),
        '--pictures', str(REPOSITORY / 'docs' / 'demo.png'),
    ], sys.executable, ignore)


def pictures() -> list[np.ndarray]:
    """Return three scenes, (128, 128, 3) RGB."""
    scenes = (random_scene(np.random.default_rng(seed)) for seed in range(3))
    return [letterbox(render(scene, 640, 480), 128) for scene in scenes]


def agreements(toolkit: Any, changed: Callable[[np.ndarray], np.ndarray]) -> list[rknn.Agreement]:
    """Return how the simulator, fed with changed pictures, agrees with onnxruntime."""
    reference = rknn.Reference(DEMO, Picture.of(DEMO), RECIPE)
    return rknn.compare(
        reference.names, [reference.run(p) for p in pictures()],
        [rknn.simulate(toolkit, changed(p)) for p in pictures()],
    )


def test_four_outputs_are_converted_labelled_and_right(four: VisionJob) -> None:
    figures = convert_vision(four, ignore)
    found = RknnFile.read(four.output)
    assert (found.size, found.outputs, found.toolkit) == (32, ((16, 8),) * 4, '2.5.0')
    assert found.mean == pytest.approx((122.4, 114.75, 102.0))
    agreement = figures['rknn']['agreement']
    assert [output['name'] for output in agreement] == ['4820', '1669', '2720', '3771']
    assert all(output['cosine'] > 0.99999 for output in agreement)
    assert all(output['max_error'] < 0.02 * output['rms'] for output in agreement)
    profile = find_model('auto', four.output, Path('x.rkllm'), found)
    assert profile.tags and profile.tags.content == '<画像>'


def test_demo_encoder_by_the_command(tmp_path: Path) -> None:
    out = tmp_path / 'demo.rknn'
    done = subprocess.run(
        [
            sys.executable, '-m', 'vlm_npu_ros.cli.main', 'convert', 'vision', str(DEMO),
            '-o', str(out), '--model', DEMO_PROFILE, '--platform', 'rk3588', '--json',
        ],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=100,
    )
    assert done.returncode == 0, done.stderr
    (output,) = json.loads(done.stdout)['rknn']['agreement']
    assert output['cosine'] > 0.99999
    assert 'building for rk3588' in done.stderr and ' GB] output embedding: cos' in done.stderr
    assert (RknnFile.read(out).outputs, os.listdir(tmp_path)) == (((1, 64, 128),), ['demo.rknn'])


# What the toolkit does that has to be handled (models_and_conversion, pitfalls).


def test_plain_8_bit_graph_kills_the_toolkit() -> None:
    # So prologue.py has to find where the layers begin.
    code = f"""
from rknn.api import RKNN
rknn = RKNN()
rknn.config(target_platform='rk3588')
rknn.load_onnx({str(DEMO)!r})
rknn.build(do_quantization=False)
"""
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, timeout=100)
    assert done.returncode == -6


def test_bgr_fails_the_check(toolkit: Any) -> None:
    rknn.require(agreements(toolkit, lambda rgb: rgb))
    wrong = agreements(toolkit, lambda rgb: np.ascontiguousarray(rgb[..., ::-1]))
    with pytest.raises(CheckFailedError, match='in the order RGB'):
        rknn.require(wrong)
    assert wrong[0].cosine < 0.99


def test_normalising_twice_fails_the_check(toolkit: Any) -> None:
    wrong = agreements(toolkit, lambda rgb: (rgb / 127.5 - 1).astype(np.float32))
    with pytest.raises(CheckFailedError, match='normalised once'):
        rknn.require(wrong)
    assert wrong[0].cosine < 0.9


def test_graph_that_normalises_itself_is_normalised_once(four: VisionJob, tmp_path: Path) -> None:
    # Folded in as well, the mean would be subtracted twice, by simulator and board alike.
    model = onnx.load(FOUR)
    for node in model.graph.node:
        if node.op_type == 'Conv':
            node.input[0] = 'normalised'
    mean, std = (np.float32(v).reshape(1, 3, 1, 1) for v in
                 ([0.48, 0.45, 0.40], [0.26, 0.27, 0.28]))
    for name, value in (('mean', mean), ('std', std)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    model.graph.node.insert(0, helper.make_node('Div', ['shifted', 'std'], ['normalised']))
    model.graph.node.insert(0, helper.make_node('Sub', ['pixel', 'mean'], ['shifted']))
    onnx.save(model, tmp_path / 'own.onnx')
    figures = convert_vision(replace(four, source=tmp_path / 'own.onnx'), ignore)
    # The same as of the graph without it.
    plain = rknn.Reference(FOUR, Picture.of(FOUR), replace(
        RECIPE, mean=(0.48, 0.45, 0.40), std=(0.26, 0.27, 0.28)))
    assert figures['rknn']['agreement'][0]['rms'] == pytest.approx(float(np.mean([
        np.sqrt((plain.run(letterbox(read_image(path), 32))[0] ** 2).mean())
        for path in pictures_in(PICTURES)])), rel=1e-4)


@pytest.mark.parametrize(('recipe', 'words'), [
    ({'platform': 'rk9999'}, "config: Invalid target_platform 'rk9999'"),
    ({'mean': [0.5], 'std': [0.5]}, 'load_onnx|config|build'),
])
def test_what_the_toolkit_raises_is_an_error(
    recipe: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match=words) as caught:
        stage(FOUR, tmp_path, recipe)
    assert type(caught.value) is ConversionError
    assert 'rknn-toolkit2, ' in str(caught.value) and 'Traceback' not in str(caught.value)


def test_missing_graph_and_bad_shapes_are_errors(fresh: Any) -> None:
    rknn.call(fresh.config, target_platform='rk3588')
    with pytest.raises(ConversionError, match='load_onnx: .*/nothing.onnx not exists'):
        rknn.call(fresh.load_onnx, '/nothing.onnx')
    rknn.call(fresh.load_onnx, str(FOUR))
    rknn.call(fresh.build, do_quantization=False)
    rknn.call(fresh.init_runtime)
    square = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(ConversionError, match=r'inference: .*shape \(1, 16, 32, 3\) is wrong'):
        rknn.simulate(fresh, square[:16])
    with pytest.raises(ConversionError, match='inference returned None'):
        rknn.simulate(fresh, square.astype(np.float64))


def test_what_the_toolkit_returns_is_an_error(fresh: Any, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match='build returned -1'):
        rknn.call(fresh.build, do_quantization=False)
    assert stage(FOUR, tmp_path)
    rknn.call(fresh.load_rknn, str(tmp_path / 'out.rknn'))
    with pytest.raises(ConversionError, match='init_runtime returned -1'):
        rknn.call(fresh.init_runtime)


def test_extra_input_is_converted_without_a_word_but_refused_by_us(
    fresh: Any, tmp_path: Path
) -> None:
    model = onnx.load(FOUR)
    extra = helper.make_tensor_value_info('extra', TensorProto.FLOAT, (1, 3, 32, 32))
    model.graph.input.append(extra)
    for node in model.graph.node:
        if node.op_type == 'Conv':
            node.input[0] = 'both'
    model.graph.node.insert(0, helper.make_node('Add', ['pixel', 'extra'], ['both']))
    onnx.save(model, tmp_path / 'two.onnx')
    rknn.call(fresh.config, target_platform='rk3588')
    rknn.call(fresh.load_onnx, str(tmp_path / 'two.onnx'))
    rknn.call(fresh.build, do_quantization=False)
    with pytest.raises(ConversionError, match=r'2 inputs \(pixel, extra\)'):
        stage(tmp_path / 'two.onnx', tmp_path)


def test_operator_that_is_not_there_is_left_out(fresh: Any, tmp_path: Path) -> None:
    rknn.call(fresh.config, target_platform='rk3588', op_target={'Gather': 'cpu'})
    rknn.call(fresh.load_onnx, str(FOUR))
    with pytest.raises(ConversionError, match="Invalid key of 'Gather'"):
        rknn.call(fresh.build, do_quantization=False)
    assert stage(FOUR, tmp_path, {'op_target': {'Gather': 'cpu'}})


def test_metadata_that_the_toolkit_would_cut_off_is_refused(fresh: Any) -> None:
    # 926 characters, but 1826 bytes: it takes them.
    values = {'model': 'm', 'x': 'é' * 900}
    text = json.dumps(values, ensure_ascii=False)
    rknn.call(fresh.config, target_platform='rk3588', custom_string=text)
    with pytest.raises(ConversionError, match='a .rknn holds 1023'):
        custom_string(values)


@pytest.mark.parametrize('module', ['pkg_resources', 'onnxruntime', 'rknn'])
def test_missing_library_is_told(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # setuptools 82 has no pkg_resources.
    (tmp_path / f'{module}.py').write_text(f'raise ModuleNotFoundError("No module {module}")')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    with pytest.raises(ToolkitMissingError, match=rf'No module {module}(?s:.*)\[convert\]'):
        stage(FOUR, tmp_path)


def test_nothing_is_left_behind(four: VisionJob, tmp_path: Path) -> None:
    here, temporary = set(os.listdir()), set(os.listdir(os.environ.get('TMPDIR', '/tmp')))
    convert_vision(four, ignore)
    assert set(os.listdir()) == here
    left = set(os.listdir(os.environ.get('TMPDIR', '/tmp'))) - temporary
    assert not [name for name in left if name.startswith('vlm_npu_')]
    assert sorted(os.listdir(tmp_path)) == ['four.rknn', 'tiny.yaml']
