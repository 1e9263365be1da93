# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from vlm_npu_ros.cli.arguments import (
    CommandParser,
    engine_settings,
    longest_answer,
    Positional,
    told_apart,
)
from vlm_npu_ros.cli.chat import add_parsers
from vlm_npu_ros.cli.main import main
from vlm_npu_ros.engine.errors import ModelFileError


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


def test_files_of_other_npus_are_named_and_pictures_of_them_are_pictures() -> None:
    assert told_apart(['my_rk1828.jpg', '']).others == [Path('my_rk1828.jpg'), Path()]
    for name in ('llm-rk1828.rknn', 'llm.weight', 'llm.tokenizer.gguf'):
        with pytest.raises(ModelFileError, match='rkllm3-server'):
            told_apart([name, 'a.png'])


def test_addresses_are_no_files() -> None:
    addresses = ['rtsp://camera:554/stream', 'http://camera/a.onnx', 'file:///b.png']
    assert told_apart(addresses).others == [*addresses[:2], Path('/b.png')]


@pytest.mark.parametrize('arguments', [
    'v.rknn l.rkllm a.png b.png --frames 3 --context 9 -q what',
    'v.rknn --context 9 l.rkllm a.png --frames 3 b.png -q what',
    '--frames 3 v.rknn -q what l.rkllm --context 9 a.png b.png',
    '-q what --frames 3 --context 9 -- v.rknn l.rkllm a.png b.png',
])
def test_options_may_stand_between_arguments(arguments: str) -> None:
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers(parser_class=CommandParser))
    args = parser.parse_args(['video', *arguments.split()])
    assert args.arguments == ['v.rknn', 'l.rkllm', 'a.png', 'b.png']
    assert (args.frames, args.context, args.question) == (3, 9, ['what'])


@pytest.mark.parametrize('command', ['chat a.png --nothing b.png', 'models --nothing',
                                     'inspect a.rknn --nothing b.rknn', 'ask what --nothing'])
def test_unknown_options_are_told_with_the_usage_of_the_command(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(command.split())
    err = capsys.readouterr().err
    assert err.startswith(f'usage: vlm-npu {command.split()[0]} ')
    assert 'unrecognized arguments: --nothing' in err


def test_named_encoder_leaves_the_language_model() -> None:
    assert told_apart(['l.onnx'], encoder='v.onnx').language_model == 'l.onnx'


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{
        'model': '', 'encoder': '', 'language_model': '', 'context': None, 'new_tokens': None,
        'temperature': 0.0, 'threads': 0, 'server': '', 'library': 'librkllmrt.so',
        'runtime_version': '',
        **given,
    })


@pytest.mark.parametrize('given, backend, model', [
    ({}, 'onnx', 'demo'),
    ({'encoder': 'v.onnx', 'language_model': 'l.onnx'}, 'onnx', 'demo'),
    ({'encoder': 'v.rknn', 'language_model': 'l.rkllm'}, 'rknpu', 'auto'),
    ({'language_model': 'l.rkllm'}, 'rknpu', 'auto'),
    ({'encoder': 'v.gguf', 'language_model': 'l.gguf'}, 'llamacpp', 'demo'),
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
