# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""GGUF models on the CPU: llama.cpp's server, inside this process."""

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.backends.llamacpp.checks import examine
from vlm_npu_ros.engine.backends.llamacpp.loading import load
from vlm_npu_ros.engine.backends.llamacpp.settings import LlamaCppSettings

BACKEND = Backend(
    'llamacpp', 'CPU, by llama.cpp', load, LlamaCppSettings,
    isolated=True,
    suffixes=('.gguf', '.gguf'),
    examine=examine,
)
