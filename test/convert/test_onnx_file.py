"""The reader of .onnx files against the onnx package, which wrote or reads the same files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from vlm_npu_ros.convert.onnx_file import OnnxFile, Tensor
from vlm_npu_ros.engine.errors import ModelFileError

TEST = Path(__file__).parents[1]
FILES = [
    TEST / 'data' / 'tiny.onnx',
    TEST / 'data' / 'tiny_four.onnx',
    *(TEST.parent / 'resource' / 'demo_model').glob('*.onnx'),
]


def shape_of(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """Return the sides, as numbers or names."""
    return tuple(
        side.dim_value if side.HasField('dim_value') else side.dim_param
        for side in value.type.tensor_type.shape.dim
    )


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_says_what_the_onnx_package_says(path: Path) -> None:
    found, model = OnnxFile.read(path), onnx.load(path)
    graph = model.graph
    for tensors, values in ((found.inputs, graph.input), (found.outputs, graph.output)):
        assert [t.name for t in tensors] == [v.name for v in values]
        assert [t.shape for t in tensors] == [shape_of(v) for v in values]
    assert found.opset == model.opset_import[0].version
    assert found.producer == f'{model.producer_name} {model.producer_version}'.strip()
    assert found.parameters == sum(int(np.prod(i.dims)) for i in graph.initializer)
    assert found.data == ()


def small_model(**graph_options: object) -> onnx.ModelProto:
    """Return a model that adds a stored number to each side of its input."""
    graph = helper.make_graph(
        [helper.make_node('Add', ['x', 'bias'], ['y'])], 'small',
        [
            helper.make_tensor_value_info('x', TensorProto.FLOAT16, ['batch', None, 4]),
            # As files of old versions have it.
            helper.make_tensor_value_info('bias', TensorProto.FLOAT16, (4,)),
        ],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT16, None)],
        [numpy_helper.from_array(np.ones(4, np.float16), 'bias')],
    )
    return helper.make_model(graph, opset_imports=[
        helper.make_opsetid('com.example', 3), helper.make_opsetid('ai.onnx', 11),
    ])


def test_odd_but_valid_file(tmp_path: Path) -> None:
    path = tmp_path / 'small.onnx'
    onnx.save(small_model(), path)
    found = OnnxFile.read(path)
    assert found.inputs == (Tensor('x', 'float16', ('batch', '', 4)),)
    assert found.outputs == (Tensor('y', 'float16', ()),)
    assert (found.opset, found.parameters) == (11, 4)


def test_weights_in_a_file_beside(tmp_path: Path) -> None:
    path = tmp_path / 'small.onnx'
    onnx.save(
        small_model(), path, save_as_external_data=True, location='small.data', size_threshold=0
    )
    assert OnnxFile.read(path).data == (tmp_path / 'small.data',)


def test_every_way_of_cutting_it_short_is_an_error(tmp_path: Path) -> None:
    data = FILES[0].read_bytes()
    path = tmp_path / 'cut.onnx'
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError, match='cut.onnx'):
            OnnxFile.read(path)


@pytest.mark.parametrize('data', [
    b'\x08\x08\x12\x04abcd', b'\x08\x08' + b'\xff' * 20, b'\x0b', b'\x08\x08\x3a\x02\x0a\x7f',
    b'\x08\x08\x38\x05', b'not at all',
])
def test_what_is_no_onnx_file_is_an_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'bad.onnx'
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match='no ONNX file'):
        OnnxFile.read(path)


def test_missing_file_is_an_error() -> None:
    with pytest.raises(ModelFileError, match='can not be read'):
        OnnxFile.read(Path('/nowhere.onnx'))
