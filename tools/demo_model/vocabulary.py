# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the demo model's tokenizer knows: the words of all training phrasings and answers."""

from __future__ import annotations

from collections.abc import Iterable
import json
from pathlib import Path
import re

from vlm_npu_ros.demo.questions import PHRASINGS, PLACE, PLURAL, REFUSAL
from vlm_npu_ros.demo.scenes import COLOURS, SHAPES
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer

_WORDS = re.compile(r" ?[^\W\d_]+(?:'[a-z]+)?| ?\d|[^\w\s]")
_SECTIONS = ('kinds', 'sequences', 'follow_ups')


def training_texts() -> list[str]:
    """List all training phrasings and the words of all answers, but nothing held out."""
    slots = {'x': '', 'xs': '', 'y': '', 'any': '', 'junk': ''}
    kinds = [kind for section in _SECTIONS for kind in PHRASINGS[section].values()]
    texts = [p.format(**slots) for kind in kinds for p in kind['train']]
    texts += [p.format('', '') for p in PHRASINGS['noun_questions']]
    texts += [*PHRASINGS['other_questions'], *PHRASINGS['openings'], *PHRASINGS['closings']]
    texts += [*SHAPES, *PLURAL.values(), *COLOURS, *PLACE.values(), 'object objects', REFUSAL]
    texts += [
        'near far away floor table nearest leftmost rightmost and an a in the no there is',
        'there are 1 2 3 4 nothing moved to nearer farther appeared went did not changed',
        'I see only one picture. Which one do you mean?',
    ]
    return texts


def tokenizer_of(texts: Iterable[str]) -> Tokenizer:
    """Make a tokenizer whose pieces are the words of the texts, with and without a space."""
    words = {word for text in texts for word in _WORDS.findall(text)}
    bare = {word.strip() for word in words}
    words |= {space + word for word in bare if word.isalpha() for space in ('', ' ')}
    return Tokenizer(sorted(word for word in words if len(word.encode()) > 1))


def save(tokenizer: Tokenizer, path: Path) -> None:
    """Write the file that `Tokenizer.load` reads."""
    text = json.dumps({'pieces': tokenizer.pieces}, ensure_ascii=False)
    path.write_text(text, encoding='utf-8')
