# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Fix the faults of an exported ONNX graph, and split large products of matrices.

- A Gather with an index of floats, as torch writes for SmolVLM's positions: neither onnxruntime
  nor rknn-toolkit2 accepts it. The index is cast to integers.
- A product with a large constant matrix runs faster on an NPU in parts; which ones and in how
  many parts is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
import re

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
from vlm_npu_ros.convert.errors import UsageError

MAX_FILE = 2 ** 31 - 2 ** 20  # bytes of weights in the file itself: protobuf's limit, less nodes
_INTEGERS = (TensorProto.INT32, TensorProto.INT64)

Split = tuple[str, int]


def fix(source: Path, target: Path, splits: Sequence[Split] = ()) -> None:
    """
    Read a graph, fix it and write it; weights that do not fit go into TARGET.data beside it.

    :param splits: (regular expression, parts); the expression is searched in names of nodes.
    :raises UsageError: an expression finds no product with a constant matrix.
    """
    model = onnx.load(str(source))
    cast_indices(model)
    for pattern, parts in splits:
        split_products(model, pattern, parts)
    save(model, target)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write a model; weights that are too large for one file go into another beside it."""
    data = path.with_name(path.name + '.data')
    data.unlink(missing_ok=True)  # onnx would append to it
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    onnx.save(model, str(path), save_as_external_data=size > MAX_FILE, location=data.name)


def cast_indices(model: onnx.ModelProto) -> int:
    """Cast the index of each Gather to integers where it has another type; return how many."""
    types = _types(model)
    casts = {}
    for node in model.graph.node:
        if node.op_type == 'Gather' and types.get(node.input[1], _INTEGERS[0]) not in _INTEGERS:
            index = node.input[1]
            cast = helper.make_node('Cast', [index], [f'{index}_int64'], f'{node.name}_index',
                                    to=TensorProto.INT64)
            node.input[1] = cast.output[0]
            casts[node.name] = cast
    _replace_nodes(model, (
        new for node in model.graph.node
        for new in ([casts[node.name], node] if node.name in casts else [node])))
    return len(casts)


def split_products(model: onnx.ModelProto, pattern: str, parts: int) -> None:
    """Split the products that a pattern finds along the dimension that they sum over."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found = [node for node in model.graph.node
             if re.search(pattern, node.name) and _is_product(node) and node.input[1] in weights]
    if not found:
        raise UsageError(f'{pattern!r} finds no product with a constant matrix in the graph')
    names = {node.name for node in found}
    _replace_nodes(model, (
        new for node in model.graph.node
        for new in (_parts(model, node, weights, parts) if node.name in names else [node])))
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _is_product(node: onnx.NodeProto) -> bool:
    """Return whether a node is only a product and a sum, as a linear layer is."""
    plain = {('transB', 0), ('transB', 1), ('alpha', 1.0), ('beta', 1.0)}
    return node.op_type == 'MatMul' or node.op_type == 'Gemm' and plain.issuperset(
        (attribute.name, helper.get_attribute_value(attribute)) for attribute in node.attribute)


def _parts(model: onnx.ModelProto, node: onnx.NodeProto, weights: dict[str, onnx.TensorProto],
           parts: int) -> list[onnx.NodeProto]:
    matrix = numpy_helper.to_array(weights[node.input[1]])
    if any(attribute.name == 'transB' and attribute.i for attribute in node.attribute):
        matrix = matrix.T
    slices = np.array_split(matrix, parts)
    stem = node.output[0]
    lengths = np.array([len(part) for part in slices], np.int64)
    model.graph.initializer.append(numpy_helper.from_array(lengths, f'{stem}_lengths'))
    inputs = [f'{stem}_input_{i}' for i in range(parts)]
    nodes = [helper.make_node('Split', [node.input[0], f'{stem}_lengths'], inputs,
                              f'{node.name}_split', axis=-1)]
    for i, part in enumerate(slices):
        weight = numpy_helper.from_array(np.ascontiguousarray(part), f'{stem}_weight_{i}')
        model.graph.initializer.append(weight)
        nodes.append(helper.make_node('MatMul', [inputs[i], weight.name], [f'{stem}_part_{i}'],
                                      f'{node.name}_{i}'))
    products = [part.output[0] for part in nodes[1:]]
    return [*nodes, *_sum([*products, *node.input[2:]], stem, node.name)]


def _sum(terms: list[str], output: str, name: str) -> list[onnx.NodeProto]:
    """Add as a tree: rknn-toolkit2 2.5.0 can fail at a Sum, or a chain, of 5 terms or more."""
    nodes: list[onnx.NodeProto] = []
    while len(terms) > 1:
        first, second, *rest = terms
        total = f'{output}_sum_{len(nodes)}' if rest else output
        nodes.append(helper.make_node('Add', [first, second], [total], f'{name}_add_{len(nodes)}'))
        terms = [*rest, total]
    return nodes


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Find the types of the values that nodes make, without a copy of the weights."""
    graph = model.graph
    inputs = [*graph.input, *(helper.make_tensor_value_info(
        tensor.name, tensor.data_type, list(tensor.dims)) for tensor in graph.initializer)]
    light = helper.make_model(
        helper.make_graph(graph.node, 'types', inputs, graph.output),
        opset_imports=model.opset_import, ir_version=model.ir_version)
    return {value.name: value.type.tensor_type.elem_type
            for value in onnx.shape_inference.infer_shapes(light).graph.value_info}


def _replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    new = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(new)
