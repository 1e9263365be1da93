# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re

import pytest
from vlm_npu_ros.engine.choices.words import finder, pattern, plain, word_lists

LANGUAGES = {
    'en': ('yes', 'no'), 'de': ('ja', 'nein'), 'fr': ('oui', 'non'), 'es': ('sí', 'no'),
    'it': ('sì', 'no'), 'pt': ('sim', 'não'), 'nl': ('ja', 'nee'), 'sv': ('ja', 'nej'),
    'pl': ('tak', 'nie'), 'ru': ('да', 'нет'), 'tr': ('evet', 'hayır'), 'zh': ('是', '不是'),
    'ja': ('はい', 'いいえ'), 'ko': ('네', '아니요'), 'ar': ('نعم', 'لا'), 'hi': ('हाँ', 'नहीं'),
}


@pytest.mark.parametrize(('yes', 'no'), LANGUAGES.values(), ids=LANGUAGES)
def test_languages(yes: str, no: str) -> None:
    assert yes in word_lists()['yes'] and no in word_lists()['no']


def test_phrases_are_whole() -> None:
    for name, phrases in word_lists().items():
        assert phrases, name
        for phrase in phrases:
            assert phrase.strip() and not set(phrase) & set('{}|,\n'), (name, phrase)


def test_braces_are_spelt_out() -> None:
    assert {'in the picture', 'on that photo', '图片中', 'dans cette image'} <= {
        *word_lists()['in_picture']
    }


def test_words_are_whole_in_scripts_with_spaces_only() -> None:
    found = pattern(['no', "n'", '没有', 'ない'])
    texts = {'no': True, 'note': False, 'casino': False, "n'est": True, '没有人': True,
             'いない': True, 'NO!': True, 'nо': False}
    assert {text: bool(found.search(plain(text))) for text in texts} == texts


def test_look_alikes_are_equal() -> None:
    for one, other in (('Don’t', 'do not'), ('ＹＥＳ', 'yes'), ('−5', '-5'), ('si\u0301', 'sí')):
        assert plain(one) == plain(other)


def test_lists_are_found() -> None:
    assert finder('deny', 'hedge').search('it is not so')
    assert not finder('deny').search('it is so')
    assert isinstance(finder('yes'), re.Pattern)
