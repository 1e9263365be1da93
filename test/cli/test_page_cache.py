from __future__ import annotations

import os
from pathlib import Path

import pytest
from vlm_npu_ros.cli.page_cache import is_warm

SIZE = 4 * 2**20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file on a file system that can tell, which is in memory."""
    path = tmp_path / 'weights'
    with path.open('wb') as opened:
        opened.write(bytes(SIZE))
        os.fsync(opened.fileno())  # only what is written out can be dropped
    if is_warm(path) is None:
        pytest.skip('this file system does not tell')
    return path


def test_file_that_was_just_read_is_warm(file: Path) -> None:
    file.read_bytes()
    assert is_warm(file) is True


def test_file_that_was_dropped_is_cold(file: Path) -> None:
    with file.open('rb') as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert is_warm(file) is False


@pytest.mark.parametrize('path', ['/nowhere', '/proc/self/status'])
def test_not_known(path: str) -> None:
    assert is_warm(Path(path)) is None
