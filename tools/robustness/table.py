# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Tables of figures, for a terminal, for documentation and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

Row = Mapping[str, str]


def text(rows: Sequence[Row], markdown: bool) -> str:
    """Format rows as a table; all of them have the same keys."""
    columns = list(rows[0])
    widths = [max(len(row[c]) for row in (*rows, {c: c})) for c in columns]
    cells = [columns, ['-' * width for width in widths], *(list(row.values()) for row in rows)]
    lines = [[c.ljust(width) for c, width in zip(line, widths, strict=True)] for line in cells]
    if markdown:
        return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    return '\n'.join('  '.join(line).rstrip() for line in lines)


def save(path: Path | None, values: Mapping[str, Any]) -> None:
    """Write figures as JSON if there is a path."""
    if path:
        path.write_text(json.dumps(values, indent=2) + '\n')
