"""What tools/with_ros says where something is missing: one sentence, no traceback."""
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    'bash', 'cat', 'cut', 'dirname', 'env', 'flock', 'id', 'readlink', 'rm', 'sed', 'sha256sum',
    'uname',
)
BUILD_TOOLS = ('c++', 'cc', 'cmake', 'make')


@pytest.fixture()
def tree(tmp_path: Path) -> Path:
    """Return a copy of tools/ in a folder with a space, without an environment."""
    tree = tmp_path / 'a tree'
    (tree / 'tools').mkdir(parents=True)
    for name in ('with_ros', 'fix_wheels.py', 'requirements.txt', 'requirements-ros.txt'):
        shutil.copy(ROOT / 'tools' / name, tree / 'tools')
    return tree


def run(
    tree: Path, *command: str, tools: tuple[str, ...] = BUILD_TOOLS, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run with_ros where there is nothing but the named programs."""
    path = tree / 'bin'
    path.mkdir()
    for name in NEEDED:
        (path / name).symlink_to(shutil.which(name) or pytest.skip(f'needs {name}'))
    for name in tools:
        (path / name).symlink_to('/bin/true')
    return subprocess.run(
        [tree / 'tools' / 'with_ros', *command], cwd='/', text=True, capture_output=True,
        check=False, env={'PATH': str(path), **env})


def one_sentence(result: subprocess.CompletedProcess[str]) -> str:
    """Return the only line of a refusal."""
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
@pytest.mark.parametrize('missing', BUILD_TOOLS)
def test_missing_build_tool(tree: Path, missing: str) -> None:
    result = run(tree, 'true', tools=tuple(set(BUILD_TOOLS) - {missing}))
    line = one_sentence(result)
    assert f' {missing} is missing' in line and 'sudo apt install' in line
    assert not (tree / '.venv').exists()


@pytest.mark.usefixtures('x86_64')
def test_no_python(tree: Path) -> None:
    assert 'no Python 3.10, 3.11 or 3.12 found' in one_sentence(run(tree, 'true'))


def test_wrong_python(tree: Path) -> None:
    line = one_sentence(run(tree, 'true', PYTHON='/bin/false'))
    assert 'tried: /bin/false' in line


@pytest.mark.usefixtures('x86_64')
def test_python_without_venv(tree: Path) -> None:
    python = tree / 'python3'
    python.write_text(
        '#!/bin/bash\n[[ $2 != *ensurepip* ]] || exit 1\n'
        '[[ $2 != *sys.executable* ]] || { echo "$0"; exit; }\n'
        f'exec {sys.executable} "$@"\n', encoding='utf-8')
    python.chmod(0o755)
    line = one_sentence(run(tree, 'true', PYTHON=str(python)))
    assert 'sudo apt install python3-venv' in line


def test_without_command_it_explains_itself(tree: Path) -> None:
    result = run(tree)
    assert result.returncode == 2
    assert 'tools/with_ros COMMAND' in result.stdout
