"""From a question to the text that the runtime reads."""

from __future__ import annotations

import re

from vlm_npu_ros.engine.models import ChatTemplate

IMAGE = '<image>'  # where the runtime puts an image
_TAG_START = re.compile(r'<(?=\S)')

# For a template that is in the model file, where its length is not known: ChatML with a system
# prompt takes about 20 tokens.
MODEL_TEMPLATE_TOKENS = 64


def user_text(question: str) -> str:
    """
    Return a question as plain data.

    All control tags of these models, and <image>, are one word that begins with '<'; a space
    behind it leaves a question readable and makes no tag of it. A zero byte would end the text.
    """
    return _TAG_START.sub('< ', question.replace('\0', ' '))


def prompt(question: str, images: int, template: ChatTemplate | None) -> bytes:
    """
    Return the text of a request, UTF-8: images first, then the question.

    template: to put around it; None where the runtime does that itself.
    """
    text = IMAGE * images + user_text(question)
    if template is not None:
        text = template.system + template.prefix + text + template.postfix
    return text.encode('utf-8', 'replace')


def tokens_at_most(text: bytes) -> int:
    """
    Return how many tokens a text can be.

    The tokenizer is in the model file, where only the runtime reads it; but those of these
    models make at least one byte of every token.
    """
    return len(text)
