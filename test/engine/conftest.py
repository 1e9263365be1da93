# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""ONNX graphs of a few numbers, written without weights and without the onnx package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

# TensorProto.DataType
FLOAT, UINT8, INT64 = 1, 2, 7
TENSOR_TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64}


@pytest.fixture
def write_encoder() -> Callable[..., Path]:
    """Return a function that writes a vision encoder whose tokens are its pixels."""
    def write(path: Path, size: int = 2, dim: int = 4, input_type: int = UINT8) -> Path:
        pixels = size * size
        return save(
            path,
            nodes=[
                node('Cast', ['image'], 'values', to=FLOAT),
                node('Reshape', ['values', 'flat'], 'colours'),
                node('MatMul', ['colours', 'weights'], 'embedding'),
            ],
            inputs=[port('image', input_type, 1, size, size, 3)],
            outputs=[port('embedding', FLOAT, 1, pixels, dim)],
            constants={
                'flat': np.array([1, pixels, 3]),
                'weights': np.eye(3, dim, dtype=np.float32),
            },
        )
    return write


@pytest.fixture
def write_language_model() -> Callable[..., Path]:
    """
    Return a function that writes a language model which knows one answer by heart.

    After a context of n tokens, cached ones included, comes script[n], and <eos> after its end.
    """
    def write(
        path: Path,
        script: Sequence[int] = (),
        vocabulary: int = 260,
        dim: int = 4,
        logits: str = 'logits',
    ) -> Path:
        table = np.zeros((len(script) + 1, vocabulary), np.float32)
        table[np.arange(len(table)), [*script, 259]] = 1
        return save(
            path,
            nodes=[
                node('Shape', ['past'], 'cached', end=1),
                node('Shape', ['tokens'], 'length'),
                node('Add', ['cached', 'length'], 'total'),
                node('Min', ['total', 'last'], 'row'),
                node('Gather', ['table', 'row'], 'rows'),
                node('Reshape', ['rows', 'flat'], logits),
                node('Cast', ['tokens'], 'values', to=FLOAT),
                node('Reshape', ['values', 'column'], 'columns'),
                node('Expand', ['columns', 'wide'], 'present'),
            ],
            inputs=[
                port('tokens', INT64, 'length'),
                port('image', FLOAT, 'rows', dim),
                port('past', FLOAT, 'past', 1, 2, dim),
            ],
            outputs=[
                port(logits, FLOAT, vocabulary), port('present', FLOAT, 'length', 1, 2, dim),
            ],
            constants={
                'table': table,
                'last': np.array([len(script)]),
                'flat': np.array([vocabulary]),
                'column': np.array([-1, 1, 1, 1]),
                'wide': np.array([1, 1, 2, dim]),
            },
        )
    return write


def save(
    path: Path,
    nodes: list[bytes],
    inputs: list[bytes],
    outputs: list[bytes],
    constants: dict[str, np.ndarray],
) -> Path:
    """Write a ModelProto of IR version 8 and operator set 17."""
    graph = message(
        *((1, n) for n in nodes), (2, 'graph'),
        *((5, tensor(name, values)) for name, values in constants.items()),
        *((11, i) for i in inputs), *((12, o) for o in outputs),
    )
    path.write_bytes(message((1, 8), (7, graph), (8, message((1, ''), (2, 17)))))
    return path


def node(operator: str, inputs: list[str], output: str, **attributes: int) -> bytes:
    """Return a NodeProto; attributes are integers (AttributeProto.INT = 2)."""
    return message(
        *((1, i) for i in inputs), (2, output), (4, operator),
        *((5, message((1, name), (3, value), (20, 2))) for name, value in attributes.items()),
    )


def port(name: str, element: int, *shape: int | str) -> bytes:
    """Return a ValueInfoProto; a length that is a name is free."""
    lengths = [(1, message((1 if isinstance(n, int) else 2, n))) for n in shape]
    return message(
        (1, name), (2, message((1, message((1, element), (2, message(*lengths)))))),
    )


def tensor(name: str, values: np.ndarray) -> bytes:
    lengths = [(1, n) for n in values.shape]
    return message(*lengths, (2, TENSOR_TYPES[values.dtype]), (8, name), (9, values.tobytes()))


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Return fields by number in protobuf's wire format: varints, texts and messages."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [varint(number << 3), varint(value)]
        else:
            data = value.encode() if isinstance(value, str) else value
            parts += [varint(number << 3 | 2), varint(len(data)), data]
    return b''.join(parts)


def varint(value: int) -> bytes:
    """Return seven bits a byte, the lowest first, and a mark on all but the last."""
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])
