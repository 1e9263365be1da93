# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
import pwd

import pytest
from vlm_npu_ros.engine import share
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.pulled import models_folder
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.share import cache_dir, share_dir


def test_holds_profiles_and_models() -> None:
    assert (share_dir() / 'config' / 'models' / 'demo.yaml').is_file()
    assert (share_dir() / 'resource').is_dir()


@pytest.mark.parametrize('module, data', [
    ('lib/python3.12/site-packages/vlm_npu_ros/engine/share.py', 'share/vlm_npu_ros'),
    ('local/lib/python3.10/dist-packages/vlm_npu_ros/engine/share.py', 'share/vlm_npu_ros'),
    ('local/lib/python3.10/dist-packages/vlm_npu_ros/engine/share.py', 'local/share/vlm_npu_ros'),
    ('vlm_npu_ros/engine/share.py', '.'),
])
def test_is_found_from_the_module(
    module: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / data / 'config' / 'models').mkdir(parents=True)
    monkeypatch.setattr(share, '__file__', str(tmp_path / module))
    assert share_dir() == (tmp_path / data).resolve()


def test_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> object:
        raise KeyError(number)

    monkeypatch.setattr(pwd, 'getpwuid', unknown)
    for name in ('HOME', 'XDG_CACHE_HOME', 'XDG_DATA_HOME', 'VLM_NPU_MODELS'):
        monkeypatch.delenv(name, raising=False)
    assert cache_dir() == Path('/.cache/vlm-npu')
    assert models_folder() == Path('/.local/share/vlm-npu/models')
    load_engine(EngineSettings(threads=1)).close()


def test_missing_data_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, '__file__', str(tmp_path / 'vlm_npu_ros/engine/share.py'))
    with pytest.raises(ModelFileError, match='data files of vlm_npu_ros are not installed'):
        share_dir()
