# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""How a model is asked where something is, and how it writes that: a part of its profile."""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ('json', 'tags')
ORDERS = ('xy', 'yx')


@dataclass(frozen=True)
class Grounding:
    """
    The field `grounding` of a model profile.

    prompt: the question; {object} is what is looked for.
    format: json, or tags: bare numbers in brackets or tags.
    key: that JSON has the numbers under; other usual ones are read, too.
    scale: what the right and the lower side of the picture are: 1000, 999, 1; 0 = its pixels as
        the model gets it. Fractions are read in any case.
    order: xy, or yx where the vertical coordinate comes first.
    """

    prompt: str
    format: str = 'json'  # noqa: A003
    key: str = 'bbox_2d'
    scale: int = 1000
    order: str = 'xy'

    def __post_init__(self) -> None:
        if '{object}' not in self.prompt:
            raise ValueError(f'grounding.prompt must contain {{object}}: {self.prompt!r}')
        for name, value, allowed in (('format', self.format, FORMATS),
                                     ('order', self.order, ORDERS)):
            if value not in allowed:
                raise ValueError(f'grounding.{name} must be one of {", ".join(allowed)}: {value}')
        if self.scale < 0:
            raise ValueError('grounding.scale must be 0 or above')

    def ask(self, thing: str) -> str:
        """Write the question as the model gets it."""
        return self.prompt.replace('{object}', thing_of(thing))


def thing_of(question: str) -> str:
    """Return what a question looks for: 'the red box' of 'the red box?'."""
    return question.strip().rstrip('?!.').rstrip()
