# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What no text of a user may hold: control tags of language models, halves of characters."""

from __future__ import annotations

import re

# Also at the end of the text, where what follows is ours and must not complete a tag.
_TAG_START = re.compile(r'<(?! )|\[(?=/?[A-Z_]{3,}[0-9]*\])')


def user_text(question: str) -> str:
    """
    Make plain data of what a user wrote: no control tags, no images.

    All control tags of these models, and <image>, are one word that begins with '<'; those of
    some others are like [INST]. A space behind that start leaves a question readable, but it is
    not a tag any more. A zero byte would end the text.
    """
    return _TAG_START.sub(r'\g<0> ', question.replace('\0', ' '))


def whole(text: str) -> str:
    """Replace halves of characters, which JSON can hold and no model or message can."""
    return text.encode(errors='replace').decode()
