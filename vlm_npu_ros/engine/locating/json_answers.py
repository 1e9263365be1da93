# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Places that models write as JSON: in fences or not, whole or cut off, between other words."""

from __future__ import annotations

from collections.abc import Iterator
import json
import re
from typing import Any

from vlm_npu_ros.engine.locating.tagged_answers import in_tags, number_of, Raw

_KEYS = ('bbox_2d', 'bbox', 'box_2d', 'box', 'point_2d', 'point')
_LABELS = ('label', 'name', 'object', 'class', 'text')
_SCORES = ('score', 'confidence')
_BEGIN = re.compile(r'[\[{]')
_DEPTH = 8  # of lists in lists
_DECODER = json.JSONDecoder()


def in_json(answer: str, key: str) -> list[Raw] | None:
    """
    Find the places in the JSON of an answer, also in what is complete of it; None = no JSON.

    key: that the model has the numbers under; other usual ones are read, too.
    """
    found, at, any_json = [], 0, False
    while begin := _BEGIN.search(answer, at):
        try:
            value, at = _DECODER.raw_decode(answer, begin.start())
        except RecursionError:
            break
        except ValueError:
            at = begin.start() + 1  # cut off: what is inside may be complete
            continue
        places = list(_places(value, (key, *_KEYS), Raw('', ()), 0))
        any_json = any_json or bool(places) or isinstance(value, dict) or value == []
        found += places
    return found if any_json else None


def _places(
    value: Any, keys: tuple[str, ...], known: Raw, depth: int, sizes: tuple[int, ...] = (2, 4)
) -> Iterator[Raw]:
    """Yield what is in a value of JSON; `known`: label and score from around it."""
    if depth > _DEPTH:
        return
    if isinstance(value, str):
        yield from (known._replace(numbers=raw.numbers) for raw in in_tags(value))
    elif isinstance(value, dict):
        label = next((str(value[name]) for name in _LABELS if value.get(name)), known.label)
        score = next((number_of(value[name]) for name in _SCORES if name in value), None)
        inside = Raw(label, (), score if score and 0 < score <= 1 else known.score)
        used = next((name for name in keys if name in value), None)
        if used is not None:
            yield from _places(value[used], keys, inside, depth + 1)
            return
        for name, inner in value.items():
            if isinstance(inner, (dict, list)):
                named = inside._replace(label=label or name)
                yield from _places(inner, keys, named, depth + 1, (4,))
    elif isinstance(value, list):
        numbers = tuple(n for v in value if (n := number_of(v)) is not None)
        if len(numbers) == len(value) and len(numbers) in sizes:
            yield known._replace(numbers=numbers)
            return
        for inner in value:
            if isinstance(inner, (dict, list)):
                yield from _places(inner, keys, known, depth + 1, sizes)
