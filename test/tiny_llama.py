# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A tiny SmolVLM with random weights, made once for all tests: it writes nonsense."""

from __future__ import annotations

import functools
from pathlib import Path
import tempfile
from typing import Any, NamedTuple

from llama_server.make_gguf import Size, TINY, write
from vlm_npu_ros.engine.settings import EngineSettings

_folder = tempfile.TemporaryDirectory(prefix='tiny_llama_')


class Files(NamedTuple):
    """Both files of a model."""

    model: Path
    mmproj: Path


@functools.cache
def tiny_llama(size: Size = TINY) -> Files:
    """Return the files, which are there until the tests end; nobody may change them."""
    folder = Path(_folder.name, str(hash(size)))
    folder.mkdir()
    files = Files(folder / 'tiny.gguf', folder / 'mmproj.gguf')
    write(*files, size)
    return files


def llama_settings(files: Files | None = None, **more: Any) -> EngineSettings:
    """Make the settings that load it, with one thread."""
    model, mmproj = files or tiny_llama()
    values = {'threads': 1, 'read_ahead': True, **more}
    return EngineSettings(
        'llamacpp', encoder_path=str(mmproj), language_model_path=str(model), **values
    )
