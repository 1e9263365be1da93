# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Opening of ONNX files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.pip import pip_install

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(path: Path, threads: int) -> InferenceSession:
    """
    Load a model for the CPU.

    threads: to compute with; 0 = one for each core.
    Raises BackendUnavailableError without onnxruntime, ModelFileError for a bad file.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailableError(
            f'The backend onnx needs onnxruntime: {error}',
            f'Install it: `{pip_install("onnxruntime")}` (extra: vlm_npu_ros[onnx])',
        ) from error
    if not os.path.isfile(path):  # unlike Path.is_file, never an error
        raise ModelFileError(f'There is no model file {path}')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle workers must sleep: the robot needs its cores between answers.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime has its own exception class for each fault
        raise ModelFileError(f'{path} is not an ONNX model that can be run: {error}') from error
