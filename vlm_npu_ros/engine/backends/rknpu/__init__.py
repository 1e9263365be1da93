# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Rockchip boards: a .rknn vision encoder and a .rkllm language model on the NPU."""

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.backends.rknpu.board import Board
from vlm_npu_ros.engine.backends.rknpu.doctor import examine
from vlm_npu_ros.engine.backends.rknpu.loading import load
from vlm_npu_ros.engine.backends.rknpu.runtime import RUNTIMES
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings

BACKEND = Backend(
    'rknpu', 'Rockchip', load, RknpuSettings,
    isolated=True,
    suffixes=('.rknn', '.rkllm'),
    profile_fields=('files', 'image', 'tags', 'min_runtime'),
    finds_profiles=True,
    runtimes=tuple(RUNTIMES),
    examine=lambda settings, root: examine(Board(root), settings),
    figures=lambda: Board().figures,
    chip=lambda: Board().soc or '',
)
