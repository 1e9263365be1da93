# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Memory of the node, and how much of it is not the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pairs import alternate, COST, Effort, Pair
import psutil
from running import Asker, CAMERA, child_of, NODE, process_of, running, SMALL, Stand
from vlm_npu_ros.engine.models import load_profile


def measure(effort: Effort) -> Iterator[Pair]:
    """Run the node with each backend, and a bare rclpy server, in turns."""
    demo = _size_of_demo()
    with Stand() as stand:
        board = {**stand.parameters, 'autostart': True}
        backends: dict[str, tuple[dict[str, Any], float]] = {
            'scripted': ({'backend': 'scripted'}, 0.0),
            'onnx': ({'backend': 'onnx'}, demo),
            'onnx, isolated': ({'backend': 'onnx', 'isolation': 'process'}, demo),
            'rknpu, simulated': (board, 0.0),
        }
        for name in list(backends)[-1:] if effort.short else backends:
            parameters, model = backends[name]
            ours, bare = alternate(
                effort.repeats(3),
                lambda p=parameters: _resident('/vlm/ask', NODE, p, stand.environment),
                lambda: _resident('/bare/ask', 'bare', {}, stand.environment),
            )
            yield from _pairs(name, ours, tuple(node for node, _ in bare), model)


def _pairs(
    name: str, ours: tuple[tuple[float, float], ...], bare: tuple[float, ...], model: float
) -> Iterator[Pair]:
    """Yield the figures of a backend; model: MiB of its files."""
    nodes, children = zip(*ours, strict=True)
    yield Pair(f'{name}: node', 'bare rclpy server', 'MiB', nodes, bare, COST)
    if any(children):
        yield Pair(f'{name}: child', 'bare rclpy server', 'MiB', children, bare, COST)
    if model:
        whole = tuple(sum(both) for both in ours)
        rest = tuple(size - model for size in whole)
        yield Pair(f'{name}: all but the model', 'all', 'MiB', rest, whole, COST)


def _resident(
    service: str, module: str, parameters: Mapping[str, Any], board: Mapping[str, str]
) -> tuple[float, float]:
    """Measure the MiB of the process, and of its child, after some answers."""
    programs = {'camera': (CAMERA, SMALL), 'subject': (module, parameters)}
    with running(board, **programs) as peer:
        asker = Asker(peer, service)
        asker.find()
        for _ in range(20):
            asker.by_service(question='what do you see?')
        process = process_of(module)
        child = child_of(process)
        return _own(process), _own(psutil.Process(child)) if child else 0.0


def _own(process: psutil.Process) -> float:
    """Measure the resident MiB; shared libraries are divided among their users."""
    return process.memory_full_info().pss / 2**20


def _size_of_demo() -> float:
    """Measure the demo model's files, in MiB."""
    profile = load_profile('demo')
    assert profile.folder
    files = profile.encoder, profile.language_model
    return sum((profile.folder / file).stat().st_size for file in files) / 2**20
