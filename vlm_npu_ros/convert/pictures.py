# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Folders of pictures, for calibration and for the check of an encoder."""

from __future__ import annotations

from pathlib import Path

from vlm_npu_ros.convert.errors import UsageError

_SUFFIXES = ('.jpeg', '.jpg', '.png')


def pictures_in(folder: Path, fewest: int = 1) -> list[Path]:
    """List the JPEG and PNG files of a folder; raise UsageError if there are too few."""
    try:
        found = sorted(p.absolute() for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES)
    except OSError as error:
        raise UsageError(f'{folder} is not a folder of pictures: {error}') from error
    if len(found) < fewest:
        raise UsageError(f'{folder} has {len(found)} JPEG and PNG pictures, {fewest} are needed')
    return found
