# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Other users of the shared memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from vlm_npu_ros.client.shared_memory import other_users


def test_other_users_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'sem.of_others').write_text('')
    (tmp_path / 'fastrtps_gone').symlink_to('nothing')
    assert other_users(tmp_path) == ''
    (tmp_path / 'fastrtps_1a').write_text('')
    assert other_users(tmp_path) == ''
    monkeypatch.setattr(os, 'geteuid', lambda: 54321)
    assert 'ROS programs of another user' in other_users(tmp_path)
