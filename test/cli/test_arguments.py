from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from vlm_npu_ros.cli.arguments import engine_settings, longest_answer, Positional, told_apart


@pytest.mark.parametrize('arguments, found', [
    ('', Positional()),
    ('a.png', Positional(others=[Path('a.png')])),
    ('a.png v.rknn l.rkllm', Positional('v.rknn', 'l.rkllm', [], [Path('a.png')])),
    ('l.rkllm v.rknn a.png', Positional('v.rknn', 'l.rkllm', [], [Path('a.png')])),
    ('a.png v.rknn l.rkllm 2048 4096',
     Positional('v.rknn', 'l.rkllm', [2048, 4096], [Path('a.png')])),
    ('v.onnx l.onnx a.mp4', Positional('v.onnx', 'l.onnx', [], [Path('a.mp4')])),
    ('V.RKNN l.RKLLM a.png b.png',
     Positional('V.RKNN', 'l.RKLLM', [], [Path('a.png'), Path('b.png')])),
    ('2048', Positional(others=[Path('2048')])),
])
def test_arguments_are_told_apart(arguments: str, found: Positional) -> None:
    assert told_apart(arguments.split()) == found


def test_named_encoder_leaves_the_language_model() -> None:
    assert told_apart(['l.onnx'], encoder='v.onnx').language_model == 'l.onnx'


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{
        'model': '', 'encoder': '', 'language_model': '', 'context': None, 'new_tokens': None,
        'temperature': 0.0, 'library': 'librkllmrt.so', 'runtime_version': '', **given,
    })


@pytest.mark.parametrize('given, backend, model', [
    ({}, 'onnx', 'demo'),
    ({'encoder': 'v.onnx', 'language_model': 'l.onnx'}, 'onnx', 'demo'),
    ({'encoder': 'v.rknn', 'language_model': 'l.rkllm'}, 'rknpu', 'auto'),
    ({'language_model': 'l.rkllm'}, 'rknpu', 'auto'),
    ({'encoder': 'v.rknn', 'model': 'demo'}, 'onnx', 'demo'),
    ({'model': 'auto'}, 'rknpu', 'auto'),
])
def test_backend_follows_from_the_files(
    given: dict[str, object], backend: str, model: str
) -> None:
    settings = engine_settings(options(**given))
    assert (settings.backend, settings.model) == (backend, model)
    assert settings.context == 0


@pytest.mark.parametrize('given, context, tokens', [
    (None, 4096, 2048), (None, 16384, 2048), (None, 512, 128), (30, 512, 30), (0, 4096, 0),
])
def test_longest_answer(given: int | None, context: int, tokens: int) -> None:
    assert longest_answer(options(new_tokens=given), context) == tokens
