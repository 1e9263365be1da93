# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Loader of config/choice_words.yaml: the words that answers are read by, in many languages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
import itertools
import re
from typing import Any
import unicodedata

from vlm_npu_ros.engine.share import share_dir
import yaml

# Scripts in which words are not divided by spaces, or have endings: kana, ideographs, Hangul.
_UNSPACED = re.compile('[\u1100-\u11ff\u3000-\u9fff\uac00-\ud7a3\uf900-\ufaff]')
_START, _END = r'(?<![^\W_])', r'(?![^\W_]|[\u0900-\u0963\u064b-\u0652])'
_ALIKE = str.maketrans(dict.fromkeys('‘’ʼ´`', "'") | dict.fromkeys('‐‑‒−', '-'))


def plain(text: str) -> str:
    """Make texts that look alike equal: letter case, width, apostrophes, dashes."""
    text = unicodedata.normalize('NFKC', text).casefold()
    return unicodedata.normalize('NFC', text).translate(_ALIKE).replace("n't", ' not')


def pattern(phrases: Iterable[str], *, single: bool = True) -> re.Pattern[str]:
    """
    Compile what finds any of these phrases in a plain text, the longest first.

    single: also those of one character in unspaced scripts, which are parts of many words.
    """
    words: dict[str, list[str]] = {'bare': [], 'elided': [], 'part': []}
    for phrase in sorted({*map(plain, phrases)} - {''}, key=len, reverse=True):
        kind = 'part' if _UNSPACED.search(phrase) else 'elided' if phrase[-1] == "'" else 'bare'
        if single or len(phrase) > 1 or kind != 'part':
            words[kind].append(re.escape(phrase))
    options = [
        f'{start}(?:{"|".join(words[kind])}){end}' for kind, start, end in (
            ('part', '', ''),  # first: none of them begins one of the others
            ('bare', _START, _END), ('elided', _START, ''),
        ) if words[kind]
    ]
    return re.compile('|'.join(options) or '(?!)')


@lru_cache(maxsize=1)
def word_lists() -> dict[str, list[str]]:
    """Read the file: each list by its name, those of numbers by the number."""
    text = (share_dir() / 'config' / 'choice_words.yaml').read_text(encoding='utf-8')
    content: dict[str, Any] = yaml.safe_load(text)
    content |= {str(number): words for number, words in content.pop('numbers').items()}
    return {name: list(_phrases(words)) for name, words in content.items()}


@lru_cache(maxsize=None)
def finder(*names: str, single: bool = True) -> re.Pattern[str]:
    """Compile what finds any phrase of these lists, as `pattern` does."""
    return pattern(itertools.chain(*(word_lists()[name] for name in names)), single=single)


def _phrases(text: str) -> Iterator[str]:
    for phrase in re.findall(r'(?:[^,\n{]|\{[^{}]*\})+', text):
        parts = re.split(r'[{}]', ' '.join(phrase.split()))  # every other one stood in braces
        options = [part.split('|') if i % 2 else [part] for i, part in enumerate(parts)]
        yield from filter(None, map(''.join, itertools.product(*options)))
