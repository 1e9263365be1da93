# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
import subprocess
import sys

import outside
import pytest
from vlm_npu_ros.engine.backends.scripted import BACKEND as SCRIPTED
from vlm_npu_ros.engine.errors import BackendUnavailableError
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.registry import (
    all_backends,
    BUILT_IN,
    find,
    names,
    register,
    unregister,
)
from vlm_npu_ros.engine.settings import EngineSettings


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.endswith('_backend')]:
        del sys.modules[name]


def test_built_in_backends_are_named_as_they_are_found() -> None:
    assert [backend.name for backend in all_backends()] == list(BUILT_IN) == names()
    for name in BUILT_IN:
        assert find(name).name == name


def test_descriptions_import_nothing_that_runs_models() -> None:
    script = """
import sys
for name in ('onnxruntime', 'openai', 'rknnlite', 'rclpy'):
    sys.modules[name] = None
from vlm_npu_ros.engine.registry import all_backends
print([backend.name for backend in all_backends(print)])
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.stdout.strip() == str(list(BUILT_IN)), done.stderr


def test_backend_of_another_package_is_found_by_its_entry_point(packages: Path) -> None:
    outside.install(packages)
    assert names() == [*BUILT_IN, 'echo']
    assert 'echo_backend' not in sys.modules
    assert find('echo').summary == 'repeats itself'
    engine = load_engine(EngineSettings('echo'))
    engine.close()


def test_broken_ones_are_errors_that_name_the_package_and_leave_the_others(packages: Path) -> None:
    outside.install(packages)
    codes = {
        'missing': 'import nothing_of_that_name',
        'empty': '',
        'other': 'BACKEND = 5',
        'renamed': (packages / 'echo_backend.py').read_text(),
    }
    for name, code in codes.items():
        outside.install(packages, name, code)
    errors: list[BackendUnavailableError] = []
    assert [backend.name for backend in all_backends(errors.append)] == [*BUILT_IN, 'echo']
    assert len(errors) == len(codes)
    for name in codes:
        (error,) = (e for e in errors if f'{name}_backend:BACKEND' in e.what)
        assert f'of the package {name}_backend' in error.what
        assert error.remedy
        with pytest.raises(BackendUnavailableError, match=name):
            find(name)


def test_no_package_takes_the_place_of_a_built_in_backend(packages: Path) -> None:
    outside.install(packages, 'onnx')
    assert names() == list(BUILT_IN)
    assert find('onnx').summary == 'CPU'


def test_unknown_name_is_answered_with_the_known_ones() -> None:
    for name in ('', 'ONNX', 'rocket'):
        with pytest.raises(BackendUnavailableError) as caught:
            load_engine(EngineSettings(name))
        assert caught.value.what == f'There is no backend {name!r}'
        assert caught.value.remedy == 'Choose one of onnx, rknpu, llamacpp, openai, scripted'


def test_backend_can_be_registered_for_this_process() -> None:
    mine = replace(SCRIPTED, name='mine')
    register(mine)
    try:
        assert find('mine') is mine
        assert names() == [*BUILT_IN, 'mine']
        with pytest.raises(ValueError, match='mine'):
            register(mine)
    finally:
        unregister('mine')
    assert names() == list(BUILT_IN)
    with pytest.raises(ValueError, match='onnx'):
        register(replace(mine, name='onnx'))
