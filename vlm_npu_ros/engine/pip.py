# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How a Python package is installed on this machine."""

from __future__ import annotations

from pathlib import Path
import sys
import sysconfig


def pip_install(packages: str) -> str:
    """
    Give the command that installs packages for this Python, such as `pip install onnxruntime`.

    Since Ubuntu 24.04 and Debian 12, pip refuses to do so outside of a virtual environment (PEP
    668) unless it is told to: by the environment here, because older versions have no option.
    """
    marker = Path(sysconfig.get_path('stdlib')) / 'EXTERNALLY-MANAGED'
    outside = sys.prefix == sys.base_prefix and marker.exists()
    return f'{"PIP_BREAK_SYSTEM_PACKAGES=1 " if outside else ""}pip install {packages}'
