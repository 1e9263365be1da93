"""Rockchip boards: a .rknn vision encoder and a .rkllm language model on the NPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.checks import Check
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.progress import Progress
from vlm_npu_ros.engine.settings import EngineSettings


def _load(settings: EngineSettings, progress: Progress) -> LocalEngine:
    from vlm_npu_ros.engine.backends.rknpu.loading import load

    return load(settings, progress)


def _runtimes() -> Sequence[str]:
    from vlm_npu_ros.engine.backends.rknpu.runtime import RUNTIMES

    return tuple(RUNTIMES)


def _examine(settings: EngineSettings, root: Path | None) -> list[Check]:
    from vlm_npu_ros.engine.backends.rknpu.board import Board
    from vlm_npu_ros.engine.backends.rknpu.doctor import examine

    return examine(Board(root), settings)


def _figures() -> Mapping[str, str]:
    from vlm_npu_ros.engine.backends.rknpu.board import Board

    return Board().figures


BACKEND = Backend(
    'rknpu', 'Rockchip', _load, RknpuSettings,
    isolated=True,
    suffixes=('.rknn', '.rkllm'),
    profile_fields=('files', 'image', 'tags', 'min_runtime'),
    finds_profiles=True,
    runtimes=_runtimes,
    examine=_examine,
    figures=_figures,
)
