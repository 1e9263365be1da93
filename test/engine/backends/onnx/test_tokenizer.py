# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
import pytest
from vlm_npu_ros.engine.backends.onnx.tokenizer import SPECIAL_TOKENS, Tokenizer
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.share import share_dir

PIECES = ['ball', ' ball', 'balloon', "can't", ' 1', 'é', '球', '🤖', '?!']
TOKENIZER = Tokenizer(PIECES)
SPECIAL = range(256, 256 + len(SPECIAL_TOKENS))
# Text with many pieces and control tags in it; st.text() alone makes hardly any.
TEXT = st.text() | st.lists(
    st.sampled_from([*PIECES, *SPECIAL_TOKENS]) | st.text(max_size=3),
).map(''.join)
LONE_SURROGATES = st.text(st.characters(categories=['Cs', 'Ll']))


def streamed(tokens: list[int]) -> list[str]:
    stream = TOKENIZER.stream()
    return [*(stream.push(token) for token in tokens), stream.finish()]


@given(TEXT)
def test_decoding_gives_the_text_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(TEXT, st.lists(st.text(max_size=5)))
def test_decoding_gives_the_text_back_whatever_the_pieces(text: str, pieces: list[str]) -> None:
    tokenizer = Tokenizer(pieces)
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert all(0 <= token < len(tokenizer) for token in tokens)


@given(TEXT)
@example('<image><user><assistant><eos>')
def test_no_text_makes_a_special_token(text: str) -> None:
    assert not set(TOKENIZER.encode(text)) & set(SPECIAL)
    # Not even where a file has a tag among its pieces.
    assert not set(Tokenizer(SPECIAL_TOKENS).encode(text)) & set(SPECIAL)


@pytest.mark.parametrize('text, pieces', [
    ('a ball', ['a', ' ball']),
    ('balloons', ['balloon', 's']),
    ('ballo', ['ball', 'o']),
    (' 12', [' 1', '2']),
    ('🤖球', ['🤖', '球']),
    ('', []),
])
def test_the_longest_piece_wins(text: str, pieces: list[str]) -> None:
    assert [TOKENIZER.decode([token]) for token in TOKENIZER.encode(text)] == pieces


def test_unknown_characters_are_bytes() -> None:
    assert TOKENIZER.encode('ß€') == list('ß€'.encode())


@given(LONE_SURROGATES)
def test_lone_surrogates_become_question_marks(text: str) -> None:
    replaced = ''.join('?' if '\ud800' <= c <= '\udfff' else c for c in text)
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == replaced


def test_special_tokens_are_numbered_after_the_bytes_and_silent() -> None:
    assert list(TOKENIZER.special) == list(SPECIAL_TOKENS)
    assert list(TOKENIZER.special.values()) == list(SPECIAL)
    assert TOKENIZER.decode([ord('a'), *SPECIAL, ord('b')]) == 'ab'
    assert len(TOKENIZER) == 256 + len(SPECIAL_TOKENS) + len(PIECES)


@given(TEXT)
def test_stream_writes_the_text_piece_by_piece(text: str) -> None:
    # Whole characters come as soon as their last byte has come.
    *pieces, rest = streamed(TOKENIZER.encode(text))
    assert ''.join(pieces) == text
    assert rest == ''


@given(st.text())
def test_stream_holds_split_characters_back(text: str) -> None:
    *pieces, rest = streamed(list(text.encode()))
    assert [piece for piece in pieces if piece] == list(text)
    assert rest == ''


@given(st.lists(st.integers(0, len(TOKENIZER) - 1)))
def test_stream_writes_what_decoding_writes(tokens: list[int]) -> None:
    assert ''.join(streamed(tokens)) == TOKENIZER.decode(tokens)


@pytest.mark.parametrize('tokens, pieces', [
    ([*'é'.encode(), ord('!')], ['', 'é', '!', '']),
    ([0xe2, 0x82], ['', '', '\ufffd']),
    ([0xe2, ord('a')], ['', '\ufffda', '']),
    ([0xff, ord('a')], ['\ufffd', 'a', '']),
    ([0xf0, 0x9f, SPECIAL[0], 0xa4, 0x96], ['', '', '', '', '🤖', '']),
])
def test_stream_by_examples(tokens: list[int], pieces: list[str]) -> None:
    assert streamed(tokens) == pieces


def test_streams_are_independent() -> None:
    first, second = TOKENIZER.stream(), TOKENIZER.stream()
    assert first.push(0xc3) == ''
    assert second.push(ord('a')) == 'a'
    assert first.push(0xa9) == 'é'


@given(TEXT)
def test_shipped_tokenizer_gives_the_text_back(text: str) -> None:
    tokens = SHIPPED.encode(text)
    assert SHIPPED.decode(tokens) == text
    assert not set(tokens) & set(SPECIAL)


SHIPPED = Tokenizer.load(share_dir() / 'resource' / 'demo_model' / 'tokenizer.json')


@pytest.mark.parametrize('content', [
    '', '{', '[]', '3', 'null', '{}', '{"pieces": 3}', '{"pieces": null}', '{"pieces": [1]}',
    '{"pieces": [["ball"]]}', r'{"pieces": ["\ud800"]}', '[' * 100_000,
], ids=lambda content: content[:20])
def test_wrong_content_is_an_error_that_names_the_file(content: str, tmp_path: Path) -> None:
    path = tmp_path / 'tokenizer.json'
    path.write_text(content)
    with pytest.raises(ModelFileError, match='is not a tokenizer file') as caught:
        Tokenizer.load(path)
    assert str(path) in str(caught.value)


def test_short_texts_are_remembered_and_long_ones_fill_no_memory() -> None:
    tokenizer = Tokenizer(PIECES)
    tokenizer.encode('balloon').clear()  # what the caller does with it is the caller's affair
    assert tokenizer.decode(tokenizer.encode('balloon')) == 'balloon'
    for text in ('ball' * 10_000, 'é' * 10_000):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer._remembered.cache_info()[:4:3] == (1, 1)  # hits, and texts that are held
