from __future__ import annotations

from vlm_npu_ros.engine.choices.words import load_words, Role

WORDS = load_words()


def test_every_role_has_phrases() -> None:
    assert {role for _, role in WORDS.roles} == {Role.NEUTRAL, *Role}
    assert set(WORDS.verdicts) == {'yes', 'no'}
    for phrases in WORDS.verdicts.values():
        assert {place for _, place in phrases} == {'anywhere', 'before_sentence', 'before_end'}


def test_braces_are_spelt_out() -> None:
    hedges = {' '.join(phrase.split()) for phrase, role in WORDS.roles if role is Role.HEDGE}
    assert {'not sure', 'not entirely sure', 'unable to be certain', '不能判断'} <= hedges
    assert {("that's correct", 'before_end'), ('that is correct', 'before_end')} <= (
        set(WORDS.verdicts['yes'])
    )


def test_phrases_are_whole() -> None:
    for phrase, _ in [*WORDS.roles, *WORDS.verdicts['yes'], *WORDS.verdicts['no']]:
        assert phrase.strip() and not set(phrase) & set('{},\n'), phrase
