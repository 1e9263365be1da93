# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The embedded default: vision encoder and language model as ONNX graphs on the CPU."""

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.backends.onnx.loading import load

BACKEND = Backend(
    'onnx', 'CPU', load,
    suffixes=('.onnx', '.onnx'),
    profile_fields=('folder', 'encoder', 'language_model', 'tokenizer'),
)
