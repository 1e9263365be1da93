# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the node runs on: a simulated board, whose faults can be switched while it runs."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
_TEST = REPOSITORY / 'test'
sys.path.insert(0, str(_TEST))

from simulated import runtime, weights  # noqa: E402
from simulated.board import board_tree  # noqa: E402
from vlm_npu_ros.demo.children import keep_to_this_machine  # noqa: E402

_RUNTIME = '1.2.3'


class Faults:
    """The file of faults of the simulated runtimes; test/simulated/librkllmrt/README.md."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, once: Mapping[str, object] | None = None, **lasting: object) -> None:
        """Replace all faults with these; `once`: those that strike one time."""
        lines = [f'{name}@once={value}\n' for name, value in (once or {}).items()]
        lines += [f'{name}={value}\n' for name, value in lasting.items()]
        new = self.path.with_suffix('.new')
        new.write_text(''.join(lines))
        new.replace(self.path)

    @property
    def struck(self) -> float | None:
        """Tell when the newest fault for one time struck, time.monotonic(), if one has."""
        if '#' not in self.path.read_text():
            return None
        return self.path.stat().st_mtime - time.time() + time.monotonic()


class Stand:
    """A board with everything that the backend rknpu needs, in a folder of its own."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix='vlm_npu_robustness_'))
        self.faults = Faults(self._folder / 'faults')
        self.faults.write()
        board_tree(self._folder / 'board')
        self._model = weights.write_model(self._folder / 'demo.rkllm')
        self._library = runtime.build(_RUNTIME, self._folder)

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)

    @property
    def environment(self) -> dict[str, str]:
        """Make the environment of all processes on this board."""
        paths = (str(Path(__file__).parent), str(_TEST / 'simulated'), *sys.path)
        return {
            **os.environ,
            'PYTHONPATH': os.pathsep.join(filter(None, paths)),
            'SIMNPU_FAULTS': str(self.faults.path),
            'VLM_NPU_SYSROOT': str(self._folder / 'board'),
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """List the node's parameters."""
        return {
            'autostart': False,
            'backend': 'rknpu',
            'isolation': 'process',
            'model': str(_TEST / 'simulated' / 'demo_rknpu.yaml'),
            'encoder_path': str(_TEST / 'data' / 'demo_encoder.rknn'),
            'language_model_path': str(self._model),
            'rknpu.library': str(self._library),
            'image_reliability': 'reliable',
        }


def prepare() -> None:
    """Keep to this machine, in a free ROS domain unless one is set; clean up on SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    keep_to_this_machine()
