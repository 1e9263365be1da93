# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What a graph does to a picture before its first layer: scale, shift, cast, turn the axes.

rknn-toolkit2 folds the normalisation in by itself, so a graph that has its own would normalise
twice; and a graph that reads 8-bit pixels kills the toolkit (SIGABRT).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from vlm_npu_ros.convert.errors import CheckFailedError, ConversionError
from vlm_npu_ros.engine.models import SAME_COLOUR

_STEPS = ('Add', 'Cast', 'Div', 'Mul', 'Sub', 'Transpose')


@dataclass(frozen=True)
class Picture:
    """
    The one input of a graph, and where the layers begin.

    shape: (1, 3, size, size) or (1, size, size, 3).
    is_bytes: whether it reads uint8.
    cut: the tensor (1, 3, size, size) that the first layer reads; the input's name if it is that.
    scale, shift: what happens to each colour on the way from the input to there.
    """

    name: str
    shape: tuple[int, ...]
    is_bytes: bool
    cut: str
    scale: np.ndarray
    shift: np.ndarray

    @property
    def size(self) -> int:
        """Return the side of the square in pixels."""
        return self.shape[2]

    @classmethod
    def of(cls, path: Path) -> Picture:
        """Read a graph; raise ConversionError if it reads anything but one picture."""
        try:
            graph = onnx.load(str(path), load_external_data=False).graph
        except Exception as error:  # OSError, and what protobuf raises
            raise ConversionError(f'{path} cannot be read as an ONNX file: {error}') from error
        weights = {tensor.name for tensor in graph.initializer}
        inputs = [i for i in graph.input if i.name not in weights]
        if len(inputs) != 1:
            names = ', '.join(i.name for i in inputs)
            raise ConversionError(
                f'{path} has {len(inputs)} inputs ({names}), and rknn-toolkit2 says nothing about '
                'those that are not fed',
                'Export it with the picture as its only input',
            )
        tensor = inputs[0].type.tensor_type
        shape = tuple(d.dim_value for d in tensor.shape.dim)
        match shape:
            case (1, 3, height, width) | (1, height, width, 3) if height == width > 0:
                pass
            case _:
                raise ConversionError(
                    f'{path} reads {shape} (0: not constant), not one square RGB picture',
                    'Export it for one size, (1, 3, size, size)',
                )
        cut, scale, shift = _follow(graph, inputs[0].name, shape)
        is_bytes = tensor.elem_type == onnx.TensorProto.UINT8
        return cls(inputs[0].name, shape, is_bytes, cut, scale, shift)

    def normalises(self) -> bool:
        """Return whether the graph scales or shifts the pixels itself."""
        return not (np.allclose(self.scale, 1) and np.allclose(self.shift, 0))

    def feed(self, rgb: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
        """
        Prepare a picture (size, size, 3) uint8 as the graph reads it.

        mean, std: how the model expects pixels of 0..1 to be normalised. Raises CheckFailedError
        if the graph does that itself, in another way.
        """
        if self.normalises():
            values = rgb / self._white(mean, std)
        else:
            values = (rgb / 255 - mean) / std
        if self.shape[1] == 3:
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None], np.uint8 if self.is_bytes else np.float32)

    def _white(self, mean: np.ndarray, std: np.ndarray) -> float:
        """Return 255 if the graph reads pixels of 0..1, 1 if it reads them as they are."""
        found = np.stack([-self.shift / self.scale, 1 / self.scale])
        for white in (1.0, 255.0):
            if np.abs(found * white - 255 * np.stack([mean, std])).max() < SAME_COLOUR:
                return white
        raise CheckFailedError(
            f'The graph normalises its pixels itself, by the mean {found[0].round(4).tolist()} '
            f'and std {found[1].round(4).tolist()}, but the profile says {mean.tolist()} and '
            f'{std.tolist()} of 0..1: they would be normalised twice or wrongly'
        )


def _follow(
    graph: onnx.GraphProto, name: str, shape: tuple[int, ...]
) -> tuple[str, np.ndarray, np.ndarray]:
    """Find the last tensor (1, 3, size, size) before the layers, its scale and its shift."""
    constants = _constants(graph)
    dark, bright = np.zeros(shape), np.ones(shape)
    # Until the axes are turned, where the graph reads (1, size, size, 3).
    found = (name, dark, bright)
    while True:
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1 or users[0].op_type not in _STEPS:
            break
        (node,) = users
        others = [i for i in node.input if i != name]
        if any(i not in constants for i in others) or (
            node.op_type == 'Div' and node.input[0] != name
        ):
            break
        dark, bright = (_step(node, name, v, constants) for v in (dark, bright))
        name = node.output[0]
        if dark.ndim == 4 and dark.shape[1] == 3:
            found = (name, dark, bright)
    cut, dark, bright = found
    colours = [v if v.shape[1] == 3 else v.transpose(0, 3, 1, 2) for v in (dark, bright)]
    dark, bright = (v[0].reshape(3, -1) for v in colours)
    if max(np.ptp(dark, axis=1).max(), np.ptp(bright, axis=1).max()) > 0:
        raise ConversionError(f'The graph shifts or scales pixels by their place before {cut}')
    return cut, (bright - dark)[:, 0], dark[:, 0]


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Collect the small constants that are in the file itself, by name."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Constant' and node.attribute[0].name == 'value':
            tensors[node.output[0]] = node.attribute[0].t
    inside = onnx.TensorProto.DEFAULT
    return {
        name: numpy_helper.to_array(tensor) for name, tensor in tensors.items()
        if tensor.data_location == inside and np.prod(tensor.dims) < 10000
    }


def _step(
    node: onnx.NodeProto, name: str, values: np.ndarray, constants: dict[str, np.ndarray]
) -> np.ndarray:
    if node.op_type == 'Cast':
        return values
    if node.op_type == 'Transpose':
        return values.transpose(node.attribute[0].ints)
    left, right = (values if i == name else constants[i] for i in node.input)
    operation = {'Add': np.add, 'Div': np.divide, 'Mul': np.multiply, 'Sub': np.subtract}
    return operation[node.op_type](left, right)
