# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Findings as one HTML page: pictures inside, no scripts, nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Callable, TextIO

import cv2
import numpy as np
from vlm_npu_ros.recordings.asking import Finding

_WIDTH, _HEIGHT = 480, 1920  # most pixels of a picture on the page
_QUALITY = 80
_STYLE = """
:root { color-scheme: light dark; --rim: #8884; --grey: #777; }
body { margin: 0 auto; padding: 24px 16px; max-width: 1200px; overflow-wrap: anywhere;
  font: 16px/1.45 system-ui, sans-serif; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 16px; }
figure { margin: 0; padding: 10px; border: 1px solid var(--rim); border-radius: 8px; }
img { display: block; width: 100%; height: auto; border-radius: 4px; }
figcaption, p { margin: 6px 0 0; } .meta { color: var(--grey); font-size: .85rem; }
.yes { border: 2px solid #1f8a4c; } .error { border: 2px solid #c5332f; }
"""


@contextmanager
def html_page(path: Path, title: str) -> Iterator[Callable[[Finding], None]]:
    """Write a page while findings come; it is whole whenever it ends. Raises OSError."""
    # Names of files may hold bytes that are no text.
    with open(path, 'w', encoding='utf-8', errors='replace') as file:
        file.write(
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
            f'<h1>{escape(title)}</h1>\n<main>\n'
        )
        shown = _Shown(file)
        try:
            yield shown.add
        finally:
            file.write(f'{"</figure>" * shown.begun}\n</main>\n</body>\n</html>\n')


class _Shown:
    """Writes a figure for each picture, with all that is said about it."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._number = file, -1
        self.begun = False

    def add(self, finding: Finding) -> None:
        if finding.number != self._number:
            self._begin(finding)
        if finding.error:
            self._file.write(f'<p>{escape(finding.error)}</p>\n')
            return
        confidence = finding.verdict and finding.verdict.probability
        sure = f' ({confidence:.2f})' if confidence else ''
        self._file.write(
            f'<p><span class="meta">{escape(finding.question)}</span><br>'
            f'<strong>{escape(finding.choice or finding.answer)}</strong>{sure}</p>\n'
        )

    def _begin(self, finding: Finding) -> None:
        self._file.write('</figure>\n' * self.begun)
        self._number, self.begun = finding.number, True
        kind = 'error' if finding.error else 'yes' if finding.choice == 'yes' else ''
        self._file.write(f'<figure class="{kind}">\n')
        if finding.frame:
            jpeg = _jpeg(finding.frame.rgb)
            self._file.write(f'<img alt="" src="data:image/jpeg;base64,{jpeg}">\n')
        self._file.write(f'<figcaption class="meta">{escape(when(finding))}</figcaption>\n')


def when(finding: Finding) -> str:
    """Say when a picture was taken: seconds since the first one, its stamp or name."""
    frame = finding.frame
    known = frame.name if frame else ''
    if frame and frame.stamp:
        known = f'{frame.stamp[0]}.{frame.stamp[1]:09}'
    return '  '.join(filter(None, (f'{finding.seconds:.2f} s', known)))


def _jpeg(rgb: np.ndarray) -> str:
    height, width = rgb.shape[:2]
    scale = min(_WIDTH / width, _HEIGHT / height)
    if scale < 1:
        size = (max(int(width * scale), 1), max(int(height * scale), 1))
        rgb = cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(
        '.jpg', cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return base64.b64encode(data.tobytes()).decode()
