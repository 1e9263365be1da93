# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""package.xml declares what the package imports."""

from __future__ import annotations

import ast
from pathlib import Path
import sys
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]
KEYS = {
    'cv2': 'python3-opencv', 'fastapi': 'python3-fastapi',
    'jsonschema': 'python3-jsonschema', 'numpy': 'python3-numpy',
    'prometheus_client': 'python3-prometheus-client', 'psutil': 'python3-psutil',
    'pydantic': 'python3-pydantic', 'rich': 'python3-rich', 'starlette': 'python3-fastapi',
    'uvicorn': 'python3-uvicorn', 'yaml': 'python3-yaml',
}
# Imported where they are used, with an error that says how to install them; for type checks only.
OPTIONAL = {
    'bond', 'google', 'mcp', 'huggingface_hub', 'nav2_msgs', 'nav2_simple_commander', 'onnx',
    'onnxruntime', 'openai', 'rknnlite', 'ros2cli', 'rosbags', 'typing_extensions',
    'vision_msgs', 'xllamacpp',
}


def declared_packages() -> set[str]:
    return {
        element.text or '' for element in ElementTree.parse(ROOT / 'package.xml').getroot()
        if element.tag in ('depend', 'exec_depend')
    }


def test_what_is_imported_is_declared() -> None:
    paths = [*(ROOT / 'launch').glob('*.py'), *(ROOT / 'vlm_npu_ros').rglob('*.py')]
    imported = set()
    for path in paths:
        if 'convert' in path.parts:  # not in the ROS package
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition('.')[0])
    needed = imported - sys.stdlib_module_names - OPTIONAL - {'vlm_npu_ros'}
    declared = declared_packages()
    assert {KEYS.get(name, name) for name in needed} <= declared
    # What pip installs cannot be a dependency of a Debian package, which bloom makes.
    assert not [name for name in declared if name.endswith('-pip')]


def test_containers_have_what_is_declared() -> None:
    """Look for the Python packages; ROS has most of its own in the image."""
    dockerfile = (ROOT / 'docker' / 'Dockerfile').read_text(encoding='utf-8').replace('_', '-')
    by_fastapi = {'python3-pydantic'}
    wanted = {name for name in declared_packages() if name.startswith('python3-')} - by_fastapi
    assert [name for name in wanted
            if name not in dockerfile and f"'{name.partition('-')[2]}>=" not in dockerfile] == []
