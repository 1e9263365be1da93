"""Loader of config/choice_words.yaml: the words that answers are read by, in many languages."""

from __future__ import annotations

from collections.abc import Iterator
from enum import auto, Flag
import itertools
import re
from typing import NamedTuple

from vlm_npu_ros.engine.share import share_dir
import yaml


class Role(Flag):
    """What a phrase does to the words around it; the file explains each."""

    NEUTRAL = 0
    NOT = auto()
    NOT_AFTER = auto()
    RATHER = auto()
    BUT = auto()
    OR = auto()
    AND = auto()
    IF = auto()
    HEDGE = auto()
    ANSWER = auto()
    INTRO = auto()
    SUBJECT = auto()
    ARTICLE = auto()
    BE = auto()
    ASK = auto()


class Words(NamedTuple):
    """
    The content of the file.

    roles: each phrase with one of its roles.
    verdicts: for yes and no, each phrase and where it counts: 'anywhere', 'before_sentence' or
        'before_end'.
    """

    roles: list[tuple[str, Role]]
    verdicts: dict[str, list[tuple[str, str]]]


def load_words() -> Words:
    """Read the file, which takes some milliseconds."""
    text = (share_dir() / 'config' / 'choice_words.yaml').read_text(encoding='utf-8')
    content = yaml.safe_load(text)
    return Words(
        [(phrase, Role[name.upper()]) for name, phrase in _each_phrase(content['roles'])],
        {
            verdict: [(phrase, place) for place, phrase in _each_phrase(places)]
            for verdict, places in content['verdicts'].items()
        },
    )


def _each_phrase(lists: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in lists.items():
        # Commas and line ends divide phrases, except in braces.
        for phrase in re.findall(r'(?:[^,\n{]|\{[^{}]*\})+', text):
            parts = re.split(r'[{}]', ' '.join(phrase.split()))  # every other one stood in braces
            options = [part.split('|') if i % 2 else [part] for i, part in enumerate(parts)]
            yield from ((name, ''.join(chosen)) for chosen in itertools.product(*options))
