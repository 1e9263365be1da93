# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Detects changes from one answer to the next."""

from __future__ import annotations

import json
from typing import Any

from builtin_interfaces.msg import Time
from vlm_npu_ros.engine.types import YES_NO
from vlm_npu_ros.node.ask import Ask
from vlm_npu_ros.node.ask_options import AskOptions
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import duration


class Hysteresis:
    """
    Confirms an answer when enough looks in a row agree on it.

    agreeing: number of looks; 0 or 1 = the first one.
    said: the confirmed answer; None = none yet.
    since: stamp of the first frame with that answer.
    """

    def __init__(self, agreeing: int) -> None:
        self._agreeing = agreeing
        self._said: str | None = None
        self._first: Time | None = None  # stamp of the first look in a row
        self._count = 0  # looks in a row
        self.said: str | None = None
        self.since: Time | None = None

    def add(self, said: str, stamp: Time) -> bool:
        """Add the answer of the next look; return whether it confirms a change."""
        if said != self._said:
            self._said, self._first, self._count = said, stamp, 0
        self._count += 1
        if said == self.said or self._count < self._agreeing:
            return False
        self.said, self.since = said, self._first
        return True


def said(ask: Ask) -> str:
    """Return the comparable part of an answer: choice, JSON, names of what it finds, or text."""
    if ask.options.locates:
        return ', '.join(sorted(spot.label.casefold() for spot in ask.spots))
    if ask.options.request.schema is not None:
        return json.dumps(json.loads(ask.answer), sort_keys=True)
    if ask.verdict is None:
        return ask.answer.strip().casefold()
    return ask.options.request.decided(ask.verdict)


def outcome(said: str | None, options: AskOptions) -> str | None:
    """Return what a confirmed answer comes to: its choice or, of places, yes (some) or no."""
    return YES_NO[not said] if options.locates and said is not None else said


def fill_look(message: Any, ask: Ask, clock: StampClock) -> None:
    """Fill in answer, places, header and frame_age of a message."""
    message.answer, message.located = ask.answer, ask.located
    if ask.frame:
        message.header = ask.frame.header
        message.frame_age = duration(clock.now() - ask.frame.stamp)
