# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The command that installs a package, as this machine takes it."""

from __future__ import annotations

from pathlib import Path
import sys
import sysconfig

import pytest
from vlm_npu_ros.engine.pip import pip_install


def test_pip_is_told_to_install_where_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, 'get_path', lambda name: {'stdlib': str(tmp_path)}[name])
    monkeypatch.setattr(sys, 'base_prefix', sys.prefix)
    assert pip_install('onnxruntime') == 'pip install onnxruntime'
    (tmp_path / 'EXTERNALLY-MANAGED').write_text('')
    assert pip_install('onnxruntime') == 'PIP_BREAK_SYSTEM_PACKAGES=1 pip install onnxruntime'
    monkeypatch.setattr(sys, 'base_prefix', '/usr')  # a virtual environment
    assert pip_install('onnxruntime') == 'pip install onnxruntime'
