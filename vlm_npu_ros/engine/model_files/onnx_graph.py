# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What an .onnx file says about itself; needs the Python package onnx."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, TYPE_CHECKING

from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.pip import pip_install

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

_DTYPES = {'float': 'float32', 'double': 'float64'}  # as NumPy calls them


def read_onnx(path: Path) -> dict[str, Any]:
    """
    Describe a graph; its weights are not loaded where they lie in other files.

    inputs, outputs: each with name, dtype and shape; a side that is not constant is a name, which
        may be ''.
    opset: version of the operators of ONNX itself.
    parameters: how many numbers are stored. data: files beside it that hold them.
    Raises ModelFileError if it is not an ONNX file, BackendUnavailableError without onnx.
    """
    model = _load(path)
    graph, stored = model.graph, {i.name: math.prod(i.dims) for i in model.graph.initializer}
    files = {
        entry.value for i in graph.initializer for entry in i.external_data
        if entry.key == 'location'
    }
    return {
        # Old files list what is stored among the inputs as well.
        'inputs': [_tensor(value) for value in graph.input if value.name not in stored],
        'outputs': [_tensor(value) for value in graph.output],
        'opset': _opset(model),
        'producer': f'{model.producer_name} {model.producer_version}'.strip(),
        'parameters': sum(stored.values()),
        'data': [str(path.parent / name) for name in sorted(files)],
    }


def _load(path: Path) -> ModelProto:
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        import onnx
    except ImportError as error:
        raise BackendUnavailableError(
            f'{path} is an ONNX file, which the Python package onnx reads: {error}',
            f'Install it: `{pip_install("onnx")}` (extra: vlm_npu_ros[convert])',
        ) from error
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelFileError(f'{path} cannot be read: {error}') from error
    except DecodeError:
        model = onnx.ModelProto()
    if not model.graph.output or not _opset(model):
        raise ModelFileError(
            f'{path} is not an ONNX file, or it is cut short or damaged',
            'Copy or download it again',
        )
    return model


def _opset(model: ModelProto) -> int:
    return next((o.version for o in model.opset_import if o.domain in ('', 'ai.onnx')), 0)


def _tensor(value: ValueInfoProto) -> dict[str, Any]:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    dtype = TensorProto.DataType.Name(tensor.elem_type).lower()
    shape = [s.dim_value if s.HasField('dim_value') else s.dim_param for s in tensor.shape.dim]
    return {'name': value.name, 'dtype': _DTYPES.get(dtype, dtype), 'shape': shape}
