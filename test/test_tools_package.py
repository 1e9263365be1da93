# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The build files agree with the tree and with each other."""
import configparser
import os
from pathlib import Path
import re
import subprocess
import sys
import xml.etree.ElementTree

from ament_index_python import get_package_prefix
from catkin_pkg.changelog import get_changelog_from_path
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CMAKE = (ROOT / 'CMakeLists.txt').read_text(encoding='utf-8')


def test_setup_cfg_agrees_with_package_xml() -> None:
    package = xml.etree.ElementTree.parse(ROOT / 'package.xml')
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg', encoding='utf-8')
    for tag in ('name', 'version', 'description', 'license'):
        assert setup['metadata'][tag] == package.findtext(tag)
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == package.findtext('version')
    changelog = get_changelog_from_path(str(ROOT / 'CHANGELOG.rst'), package.findtext('name'))
    newest, *_ = [version for version, _, _ in changelog.foreach_version()]
    assert newest == package.findtext('version')


def test_cmake_lists_every_interface() -> None:
    listed = re.findall(r'^  (\w+/\w+\.(?:action|msg|srv))$', CMAKE, re.MULTILINE)
    there = [
        path.relative_to(ROOT).as_posix()
        for kind in ('action', 'msg', 'srv') for path in (ROOT / kind).glob('*.*')
    ]
    assert sorted(listed) == sorted(there)


def test_cmake_installs_every_script() -> None:
    listed = re.findall(r'^    scripts/([\w-]+)$', CMAKE, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / 'scripts').iterdir())


@pytest.mark.parametrize('script', sorted((ROOT / 'scripts').iterdir()), ids=lambda p: p.name)
def test_script_can_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding='utf-8')
    module = re.search(r'^ *from ([\w.]+) import main\b', text, re.MULTILINE)
    assert module, 'a script does nothing but call main of a module'
    folder = ROOT if module[1].startswith('vlm_npu_ros.') else ROOT / 'tools' / 'demo'
    assert (folder / (module[1].replace('.', '/') + '.py')).is_file()
    # Child processes of multiprocessing import the script again.
    assert "if __name__ == '__main__':" in text


def test_robots_do_not_get_the_converter(tmp_path: Path) -> None:
    installed = next(Path(get_package_prefix('vlm_npu_ros')).rglob('vlm_npu_ros/cli')).parent
    assert {'cli', 'demo', 'engine', 'nav', 'node'} <= {path.name for path in installed.iterdir()}
    assert not (installed / 'convert').exists()
    done = subprocess.run(
        [sys.executable, '-m', 'vlm_npu_ros.cli.main', 'convert', 'vision', 'a.onnx', '-o', 'b'],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(installed.parent)},
        text=True, capture_output=True, check=False,
    )
    assert (done.returncode, done.stdout) == (1, '')
    line, = done.stderr.splitlines()
    assert 'The converter is for a desktop' in line and 'pip install' in line
