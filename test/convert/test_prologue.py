# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What graphs do to a picture before their first layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from vlm_npu_ros.convert.errors import CheckFailedError, ConversionError
from vlm_npu_ros.convert.prologue import Picture
from vlm_npu_ros.engine.share import share_dir

DATA = Path(__file__).resolve().parents[1] / 'data'
HALF = np.array([0.5] * 3)
SQUARE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)

Step = tuple[str, np.ndarray | None]


def write(
    path: Path,
    steps: Sequence[Step] = (),
    shape: Sequence[int | str] = (1, 3, 16, 16),
    kind: int = TensorProto.FLOAT,
    inputs: Sequence[str] = ('pixels',),
) -> Path:
    """Write a graph: steps with a constant each, then a convolution."""
    constants = {'weights': np.ones((1, 3, 4, 4), np.float32)}
    nodes, last = [], inputs[0]
    for i, (operator, value) in enumerate(steps):
        more, attributes = [], {}
        if operator == 'Transpose':
            attributes = {'perm': [0, 3, 1, 2]}
        elif operator == 'Cast':
            attributes = {'to': TensorProto.FLOAT}
        else:
            constants[f'c{i}'] = np.asarray(value, np.float32)
            more = [f'c{i}']
        nodes.append(helper.make_node(operator, [last, *more], [f'v{i}'], **attributes))
        last = f'v{i}'
    nodes.append(helper.make_node('Conv', [last, 'weights'], ['map'], strides=[4, 4]))
    graph = helper.make_graph(
        nodes, 'g',
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info('map', TensorProto.FLOAT, (1, 1, 4, 4))],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)]), path)
    return path


def test_graph_of_normalised_pixels_has_none() -> None:
    picture = Picture.of(DATA / 'tiny_four.onnx')
    assert (picture.name, picture.cut, picture.size) == ('pixel', 'pixel', 32)
    assert not picture.normalises() and not picture.is_bytes


def test_demo_encoder_reads_bytes_and_normalises_them() -> None:
    picture = Picture.of(share_dir() / 'resource' / 'demo_model' / 'vision_encoder.onnx')
    assert (picture.size, picture.is_bytes, picture.shape) == (128, True, (1, 128, 128, 3))
    assert picture.cut == '/Sub_output_0'
    assert np.allclose(picture.scale, 1 / 127.5) and np.allclose(picture.shift, -1)
    square = np.zeros((128, 128, 3), np.uint8)
    fed = picture.feed(square, HALF, HALF)
    assert (fed.shape, fed.dtype) == ((1, 128, 128, 3), np.uint8)


def test_feed_normalises_for_graphs_that_do_not(tmp_path: Path) -> None:
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.5, 0.6])
    fed = Picture.of(write(tmp_path / 'g.onnx')).feed(SQUARE, mean, std)
    assert (fed.shape, fed.dtype) == ((1, 3, 16, 16), np.float32)
    assert np.allclose(fed[0, :, 2, 5], (SQUARE[2, 5] / 255 - mean) / std)


@pytest.mark.parametrize(('steps', 'white'), [
    ([('Sub', [[[127.5]]] * 3), ('Div', [[[127.5]]] * 3)], 1.0),
    ([('Sub', 0.5), ('Mul', 2.0)], 255.0),
])
def test_graph_that_normalises_is_fed_plain_pixels(
    steps: list[Step], white: float, tmp_path: Path
) -> None:
    picture = Picture.of(write(tmp_path / 'g.onnx', steps))
    assert picture.cut == 'v1'
    assert np.allclose(picture.feed(SQUARE, HALF, HALF)[0, :, 2, 5], SQUARE[2, 5] / white)


def test_graph_that_normalises_otherwise_than_the_profile_is_refused(tmp_path: Path) -> None:
    picture = Picture.of(write(tmp_path / 'g.onnx', [('Sub', 0.5), ('Div', 0.25)]))
    with pytest.raises(CheckFailedError, match=r'std \[0\.25, .*profile says \[0\.5'):
        picture.feed(SQUARE, HALF, HALF)


def test_axes_are_turned(tmp_path: Path) -> None:
    shape = (1, 16, 16, 3)
    picture = Picture.of(write(tmp_path / 'g.onnx', [('Transpose', None)], shape))
    assert (picture.cut, picture.normalises()) == ('v0', False)
    fed = picture.feed(SQUARE, HALF, HALF)
    assert fed.shape == shape
    assert np.allclose(fed[0, 2, 5], SQUARE[2, 5] / 127.5 - 1)


def test_change_by_place_is_refused(tmp_path: Path) -> None:
    ramp = np.arange(16, dtype=np.float32)
    with pytest.raises(ConversionError, match='by their place before v0'):
        Picture.of(write(tmp_path / 'g.onnx', [('Add', ramp)]))


def test_extra_input_is_refused_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / 'g.onnx', inputs=('pixels', 'grid_thw'))
    with pytest.raises(ConversionError, match=r'2 inputs \(pixels, grid_thw\)'):
        Picture.of(path)


@pytest.mark.parametrize('shape', [(1, 3, 16, 32), (2, 3, 16, 16), ('n', 3, 16, 16), (1, 48)])
def test_input_that_is_no_square_picture_is_refused(
    shape: tuple[int | str, ...], tmp_path: Path
) -> None:
    with pytest.raises(ConversionError, match='not one square RGB picture'):
        Picture.of(write(tmp_path / 'g.onnx', shape=shape))


@pytest.mark.parametrize('data', [b'', b'junk' * 10])
def test_what_is_no_onnx_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'g.onnx'
    path.write_bytes(data)
    with pytest.raises(ConversionError, match='g.onnx'):
        Picture.of(path)
