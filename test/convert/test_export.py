# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What needs no PyTorch; the rest is in real/test_families.py."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

import pytest
from vlm_npu_ros.convert.export import revision

COMMIT = '0123456789abcdef0123456789abcdef01234567'


def test_library_is_missing(tmp_path: Path) -> None:
    (tmp_path / 'torch.py').write_text("raise ImportError('as if it were not there')")
    program = subprocess.run(
        [sys.executable, '-m', 'vlm_npu_ros.convert.export', tmp_path, '--size', '448',
         '-o', tmp_path / 'vision.onnx'],
        env={**os.environ, 'PYTHONPATH': f'{tmp_path}:{os.environ.get("PYTHONPATH", "")}'},
        capture_output=True, text=True)
    assert program.returncode == 3
    assert program.stderr.strip().endswith('is missing: as if it were not there')


def test_revision_of_a_cached_download(tmp_path: Path) -> None:
    snapshot = tmp_path / 'models--a--b' / 'snapshots' / COMMIT
    snapshot.mkdir(parents=True)
    (tmp_path / 'link').symlink_to(snapshot)
    assert revision(tmp_path / 'link') == COMMIT


def test_revision_of_a_download_into_a_folder(tmp_path: Path) -> None:
    record = tmp_path / '.cache' / 'huggingface' / 'download' / 'config.json.metadata'
    record.parent.mkdir(parents=True)
    record.write_text(f'{COMMIT}\n"etag"\n1700000000.0\n')
    assert revision(tmp_path) == COMMIT


@pytest.mark.parametrize('record', [None, ''])
def test_no_revision(tmp_path: Path, record: str | None) -> None:
    if record is not None:
        path = tmp_path / '.cache' / 'huggingface' / 'download' / 'config.json.metadata'
        path.parent.mkdir(parents=True)
        path.write_text(record)
    assert revision(tmp_path) == ''
