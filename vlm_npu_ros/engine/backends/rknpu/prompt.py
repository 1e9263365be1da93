# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""From a question to the text that the runtime reads."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_npu_ros.engine.control_tags import user_text
from vlm_npu_ros.engine.models import ChatTemplate
from vlm_npu_ros.engine.types import Turn

IMAGE = '<image>'  # where the runtime puts an image
VIDEO = '<video>'  # and the frames of a video, from 1.3.0 on

# Allowed for a template in the model file, whose length is unknown: ChatML with a system prompt
# takes about 20 tokens.
MODEL_TEMPLATE_TOKENS = 64


def prompt(
    question: str, turns: Sequence[Turn], marks: str,
    template: ChatTemplate | None, framed_here: ChatTemplate | None,
) -> bytes:
    """
    Write the text of a request, in UTF-8: images first, then the turns, then the question.

    marks: IMAGE or VIDEO, as often as the runtime wants it.
    template: to put between the turns; may be None without turns.
    framed_here: to put around everything; None if the runtime does that itself.
    """
    text = marks
    for turn in turns:
        assert template
        text += user_text(turn.question) + template.postfix
        text += user_text(turn.answer) + template.turn_end + template.prefix
    text += user_text(question)
    if framed_here is not None:
        text = framed_here.framed(text)
    return text.encode('utf-8', 'replace')
