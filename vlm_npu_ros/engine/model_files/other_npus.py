# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Files for Rockchip's other NPUs, which its runtimes librknnrt and librkllmrt cannot run."""

from __future__ import annotations

import os
from pathlib import Path
import re

from vlm_npu_ros.engine.errors import ModelFileError

# Cards and a chip of the RKNN3 family.
RKNN3_CHIPS = ('rk1820', 'rk1828', 'rk3572')
RKNN3_WAY = (
    "Let Rockchip's rkllm3-server run them, and ask it: backend: openai, openai.base_url: "
    'http://HOST:8080/v1 (docs/remote.md)'
)
_NAMED = re.compile('|'.join(RKNN3_CHIPS), re.IGNORECASE)
# What belongs to a model there, beside X.rknn.
_PARTS = ('.weight', '.tokenizer.gguf', '.embed.bin')


def refuse_rknn3(path: Path, chip: str = '') -> None:
    """
    Raise ModelFileError if a file is for an RK1820, RK1828 or RK3572.

    It is known by its name, by the files beside it, or by the chip that it names itself.
    """
    part = next((part for part in _PARTS if path.name.endswith(part)), '')
    if not part and path.suffix.lower() not in ('.rknn', '.rkllm'):
        return  # a picture of such a board, say
    named = _NAMED.search(path.name) or _NAMED.search(chip)
    beside = next((p for p in _PARTS if os.path.isfile(path.with_suffix(p))), '')
    if named:
        what = f'is for the {named[0].upper()}'
    elif part:
        what = f'is a part of such a model ({part})'
    elif beside and path.suffix.lower() == '.rknn':
        what = f'has its weights beside it ({path.with_suffix(beside).name})'
    else:
        return
    raise ModelFileError(
        f'{path} {what}: models of RK1820, RK1828 and RK3572 are of another family (RKNN3), for '
        'which this backend has no runtime',
        RKNN3_WAY,
    )
