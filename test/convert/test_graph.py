# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime
import pytest
from vlm_npu_ros.convert import graph
from vlm_npu_ros.convert.errors import UsageError

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((1, 3, 10)).astype(np.float32)
MATRIX = RANDOM.standard_normal((10, 4)).astype(np.float32)
BIAS = RANDOM.standard_normal(4).astype(np.float32)


def write(path: Path, nodes: list[onnx.NodeProto], *constants: tuple[str, np.ndarray]) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in 'xy')
    weights = [numpy_helper.from_array(value, name) for name, value in constants]
    model = helper.make_model(
        helper.make_graph(nodes, 'graph', [x], [y], weights),
        opset_imports=[helper.make_opsetid('', 15)], ir_version=8)
    onnx.save(model, str(path))
    return path


def linear(folder: Path) -> Path:
    """Write two layers, one as a MatMul of 3 dimensions, one as a Gemm with a bias."""
    return write(
        folder / 'linear.onnx',
        [
            helper.make_node('MatMul', ['x', 'matrix'], ['a'], '/vpm/blocks.0/mlp/fc2/MatMul'),
            helper.make_node('Flatten', ['a'], ['b'], 'flatten', axis=2),
            helper.make_node('Gemm', ['b', 'square', 'bias'], ['y'], '/vpm/merger/Gemm', transB=1),
        ],
        ('matrix', MATRIX), ('square', MATRIX[:4]), ('bias', BIAS))


def run(path: Path, x: np.ndarray = X) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(None, {'x': x})[0]


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


# --- indices ---

def positions(folder: Path, index: type) -> Path:
    """Write what torch writes for SmolVLM's positions, an index of this type."""
    return write(
        folder / 'positions.onnx',
        [
            helper.make_node('ConstantOfShape', ['shape'], ['zeros'],
                             value=numpy_helper.from_array(np.zeros(1, index))),
            helper.make_node('ScatterND', ['zeros', 'where', 'values'], ['index']),
            helper.make_node('Gather', ['table', 'index'], ['rows'], '/position_embedding/Gather'),
            helper.make_node('Add', ['x', 'rows'], ['y']),
        ],
        ('shape', np.array([3])), ('where', np.array([[0], [2]])),
        ('values', np.array([5, 7], index)), ('table', RANDOM.random((8, 10), np.float32)))


def test_index_of_floats_is_cast(tmp_path: Path) -> None:
    source, target = positions(tmp_path, np.float32), tmp_path / 'fixed.onnx'
    with pytest.raises(Exception, match=r'tensor\(float\).*Gather'):
        onnxruntime.InferenceSession(source)
    graph.fix(source, target)
    table = numpy_helper.to_array(onnx.load(source).graph.initializer[3])
    np.testing.assert_array_equal(run(target), X + table[[5, 0, 7]])


def test_index_of_integers_is_left(tmp_path: Path) -> None:
    source, target = positions(tmp_path, np.int64), tmp_path / 'fixed.onnx'
    graph.fix(source, target)
    assert target.read_bytes() == source.read_bytes()


def test_what_is_fixed_is_not_fixed_again(tmp_path: Path) -> None:
    fixed, again = tmp_path / 'fixed.onnx', tmp_path / 'again.onnx'
    graph.fix(positions(tmp_path, np.float32), fixed)
    graph.fix(fixed, again)
    assert again.read_bytes() == fixed.read_bytes()


# --- products ---

@pytest.mark.parametrize('parts', [2, 3, 5, 10])
def test_split_keeps_the_result(tmp_path: Path, parts: int) -> None:
    source, target = linear(tmp_path), tmp_path / 'split.onnx'
    graph.fix(source, target, [(r'/vpm/blocks\..*/fc2', parts)])
    assert operators(target) == [
        'Split', *['MatMul'] * parts, *['Add'] * (parts - 1), 'Flatten', 'Gemm']
    np.testing.assert_allclose(run(target), run(source), rtol=1e-5, atol=1e-5)


def test_split_of_a_product_with_a_bias(tmp_path: Path) -> None:
    source, target = linear(tmp_path), tmp_path / 'split.onnx'
    graph.fix(source, target, [('Gemm', 2)])
    assert operators(target) == ['MatMul', 'Flatten', 'Split', 'MatMul', 'MatMul', 'Add', 'Add']
    np.testing.assert_allclose(run(target), run(source), rtol=1e-5, atol=1e-5)


def test_no_sum_is_a_long_chain(tmp_path: Path) -> None:
    """The toolkit fails at some chains of 4 and more additions."""
    target = tmp_path / 'split.onnx'
    graph.fix(linear(tmp_path), target, [('fc2', 8)])
    depth: dict[str, int] = {}
    for node in onnx.load(target).graph.node:
        if node.op_type == 'Add':
            depth[node.output[0]] = 1 + max(depth.get(name, 0) for name in node.input)
    assert max(depth.values()) == 3


def test_split_drops_the_whole_matrix(tmp_path: Path) -> None:
    target = tmp_path / 'split.onnx'
    graph.fix(linear(tmp_path), target, [('fc2', 2)])
    names = [tensor.name for tensor in onnx.load(target).graph.initializer]
    assert 'matrix' not in names
    assert {'square', 'bias'} <= set(names)


@pytest.mark.parametrize('pattern', ['/vpm/layers', 'flatten'])
def test_pattern_finds_nothing(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match=f"'{pattern}' finds no product"):
        graph.fix(linear(tmp_path), tmp_path / 'split.onnx', [(pattern, 2)])


def test_scaled_product_is_not_split(tmp_path: Path) -> None:
    source = write(
        tmp_path / 'scaled.onnx',
        [helper.make_node('Gemm', ['x', 'matrix'], ['y'], 'scaled', alpha=2.0)],
        ('matrix', MATRIX))
    with pytest.raises(UsageError, match="'scaled' finds no product"):
        graph.fix(source, tmp_path / 'split.onnx', [('scaled', 2)])


# --- files ---

def test_large_weights_lie_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = linear(tmp_path), tmp_path / 'out'
    folder.mkdir()
    weights = 3000 * [np.float32(1)]
    model = onnx.load(source)
    model.graph.initializer.append(numpy_helper.from_array(np.array(weights), 'more'))
    monkeypatch.setattr(graph, 'MAX_FILE', 10_000)
    target = folder / 'vision.onnx'
    sizes = []
    for _ in range(2):  # the second time over the first one's files
        graph.save(onnx.ModelProto.FromString(model.SerializeToString()), target)
        assert sorted(p.name for p in folder.iterdir()) == ['vision.onnx', 'vision.onnx.data']
        sizes.append([p.stat().st_size for p in sorted(folder.iterdir())])
    assert sizes[0] == sizes[1]
    assert sizes[0][0] < 10_000 < sizes[0][1]
    np.testing.assert_array_equal(run(target), run(source))


def test_small_file_after_a_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = linear(tmp_path), tmp_path / 'vision.onnx'
    monkeypatch.setattr(graph, 'MAX_FILE', 10)
    graph.fix(source, target)
    monkeypatch.undo()
    graph.fix(source, target)
    assert not target.with_name('vision.onnx.data').exists()
    np.testing.assert_array_equal(run(target), run(source))
