# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What is told of .onnx files."""

from __future__ import annotations

from pathlib import Path
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.model_files.onnx_graph import read_onnx

TINY = Path(__file__).parents[2] / 'data' / 'tiny.onnx'


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Write a model that adds stored numbers to its input, with its weights beside it."""
    graph = helper.make_graph(
        [helper.make_node('Add', ['x', 'bias'], ['y'])], 'small',
        [
            helper.make_tensor_value_info('x', TensorProto.FLOAT16, ['batch', None, 4]),
            # As files of old versions have it.
            helper.make_tensor_value_info('bias', TensorProto.FLOAT16, (4,)),
        ],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(4, np.float16), 'bias')],
    )
    model = helper.make_model(graph, producer_name='me', opset_imports=[
        helper.make_opsetid('com.example', 3), helper.make_opsetid('ai.onnx', 11),
    ])
    path = tmp_path / 'small.onnx'
    onnx.save(
        model, path, save_as_external_data=True, location='small.data', size_threshold=0
    )
    return path


def test_says_what_the_graph_is(small: Path) -> None:
    small.with_name('small.data').unlink()  # is not needed for that
    assert read_onnx(small) == {
        'inputs': [{'name': 'x', 'dtype': 'float16', 'shape': ['batch', '', 4]}],
        'outputs': [{'name': 'y', 'dtype': 'float32', 'shape': []}],
        'opset': 11, 'producer': 'me', 'parameters': 4,
        'data': [str(small.with_name('small.data'))],
    }


def test_every_way_of_cutting_it_short_is_an_error(tmp_path: Path) -> None:
    data = TINY.read_bytes()
    path = tmp_path / 'cut.onnx'
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError, match='cut.onnx'):
            read_onnx(path)


def test_what_is_not_an_onnx_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / 'bad.onnx'
    for data in (
        b'\x08\x08\x12\x04abcd', b'\x08\x08' + b'\xff' * 20, b'\x0b', b'\x08\x08\x3a\x02\x0a\x7f',
        b'\x08\x08\x38\x05', b'not at all',
    ):
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match='not an ONNX file'):
            read_onnx(path)
    with pytest.raises(ModelFileError, match='cannot be read'):
        read_onnx(tmp_path / 'absent.onnx')


def test_without_the_package_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(BackendUnavailableError, match='tiny.onnx') as caught:
        read_onnx(TINY)
    assert 'pip install onnx' in caught.value.remedy and '[convert]' in caught.value.remedy
