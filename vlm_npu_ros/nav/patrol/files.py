# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A report as files in a folder."""

from __future__ import annotations

from pathlib import Path

from vlm_npu_ros.nav.patrol.page import page
from vlm_npu_ros.nav.patrol.report import Report


def save(report: Report, folder: Path) -> None:
    """Write report.json, report.html and the pictures; raise OSError if that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in report.pictures.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    for name, text in (('report.json', report.to_json()), ('report.html', page(report))):
        # Half a character, such as from a file name in another encoding, must not lose the report.
        (folder / name).write_text(text, encoding='utf-8', errors='replace')
