# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Texts that end an answer."""

from __future__ import annotations


class Stops:
    """
    Cuts an answer, which comes in pieces, before the first of some texts.

        stops = Stops(('END',))
        stops.add('all is well E') == 'all is well '
        stops.add('ND or so') == ''
        stops.reached is True
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts
        self._held = ''  # may be the beginning of one of them
        self.reached = False

    def add(self, piece: str) -> str:
        """Return what can be shown after this piece."""
        if self.reached:
            return ''
        self._held += piece
        found = [i for text in self._texts if (i := self._held.find(text)) >= 0]
        if found:
            self.reached = True
            return self._held[:min(found)]
        keep = max((n for text in self._texts for n in range(1, len(text))
                    if self._held.endswith(text[:n])), default=0)
        shown = self._held[:len(self._held) - keep]
        self._held = self._held[len(shown):]
        return shown

    def end(self) -> str:
        """Return what was held back, after the last piece."""
        return '' if self.reached else self._held
