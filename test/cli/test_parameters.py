# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import outside
import pytest
from vlm_npu_ros.cli.main import main
import yaml

CONFIG = Path(__file__).parents[2] / 'config' / 'vlm.yaml'


def test_config_file_ends_with_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['parameters']) == 0
    head, blocks = capsys.readouterr().out.split('ros__parameters:\n')
    text = CONFIG.read_text()
    assert head == '/**:\n  '
    assert text.endswith(blocks)
    assert blocks.startswith('    fallback:')
    assert max(map(len, blocks.splitlines())) <= 99


def test_other_packages_are_printed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    outside.install(tmp_path)
    outside.install(tmp_path, 'broken', 'import nothing_of_that_name')
    assert main(['parameters']) == 0
    printed = capsys.readouterr()
    values = yaml.safe_load(printed.out)['/**']['ros__parameters']
    assert values['echo'] == {'times': 1, 'voice': 'plain', 'words': ['echo']}
    assert '# How often the answer is said. [1 to 9]' in printed.out
    assert 'nothing_of_that_name' in printed.err
