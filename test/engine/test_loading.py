# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
import hashlib
import json
from pathlib import Path
import random
import subprocess
import sys

import numpy as np
import pytest
from vlm_npu_ros.demo.questions import random_question
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.scripted import ScriptedSettings
from vlm_npu_ros.engine.errors import BackendUnavailableError, EmptyAnswerError, ModelFileError
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.progress import Event, Loading
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import GenerationRequest

FILES = ('vision_encoder.onnx', 'language_model.onnx', 'tokenizer.json')
PICTURE = np.full((6, 8, 3), 200, np.uint8)

Write = Callable[..., Path]


@pytest.fixture(scope='module')
def demo_engine() -> Iterator[LocalEngine]:
    engine = load_engine(EngineSettings(threads=1))
    yield engine
    engine.close()


@pytest.fixture
def folder(tmp_path: Path, write_encoder: Write, write_language_model: Write) -> Path:
    write_encoder(tmp_path / 'vision_encoder.onnx')
    write_language_model(tmp_path / 'language_model.onnx')
    (tmp_path / 'tokenizer.json').write_text('{"pieces": []}')
    write_profile(tmp_path)
    return tmp_path


def write_profile(folder: Path, backend: str = 'onnx') -> None:
    encoder, language_model, tokenizer = FILES
    (folder / 'mine.yaml').write_text(
        f'{{name: mine, backend: {backend}, folder: ., encoder: {encoder}, '
        f'language_model: {language_model}, tokenizer: {tokenizer}, context: 64}}'
    )


def settings(folder: Path) -> EngineSettings:
    return EngineSettings(model=str(folder / 'mine.yaml'), threads=1)


def test_loads_a_model_and_tells_what_it_does(folder: Path) -> None:
    events: list[Event] = []
    engine = load_engine(settings(folder), events.append)
    assert engine.model_name == 'mine'
    assert engine.encode(PICTURE).data.shape == (4, 1, 4)
    with pytest.raises(EmptyAnswerError):  # its weights say nothing
        engine.answer(GenerationRequest('hi', (engine.encode(PICTURE),), 8))
    assert [event.path.name for event in events if isinstance(event, Loading)] == [*FILES[:2]]
    assert str(events[0]) == f'Loading vision encoder {folder / FILES[0]}'


def test_loads_the_demo_model_by_default(demo_engine: LocalEngine) -> None:
    assert demo_engine.model_name == 'demo'


def test_demo_model_answers_about_scenes(demo_engine: LocalEngine) -> None:
    # Far below what the model can do, far above what it could guess: it sees, in true colours.
    rng = np.random.default_rng(0)
    right = 0
    for _ in range(40):
        scene = random_scene(rng)
        question = random_question(scene, rng)
        embedding = demo_engine.encode(render(scene, 320, 240))
        answer = demo_engine.answer(GenerationRequest(question.text, (embedding,), 64))
        right += answer == question.answer
    assert right >= 36


def test_paths_replace_the_files_of_the_profile(folder: Path, write_encoder: Write) -> None:
    other = write_encoder(folder / 'other.onnx', size=3)
    mine = str(folder / 'mine.yaml')
    engine = load_engine(EngineSettings(model=mine, encoder_path=str(other), threads=1))
    assert engine.encode(PICTURE).tokens == 9


def test_language_model_of_ones_own_needs_no_locator(
    folder: Path, write_language_model: Write
) -> None:
    profile, own = folder / 'mine.yaml', folder / 'own'
    text = profile.read_text().removesuffix('}')
    profile.write_text(
        f'{text}, locator: places.onnx, locator_tokenizer: {FILES[2]}, '
        'grounding: {prompt: "{object}"}}')
    own.mkdir()
    (own / FILES[2]).write_bytes((folder / FILES[2]).read_bytes())
    path = write_language_model(own / 'other.onnx')
    with pytest.raises(ModelFileError, match=r'places\.onnx'):  # the profile's own needs it
        load_engine(settings(folder))
    for places in (False, True):
        if places:
            write_language_model(own / 'places.onnx')
        engine = load_engine(replace(settings(folder), language_model_path=str(path)))
        assert bool(engine._language_model.grounding) == places
        engine.close()


def test_folder_that_cannot_be_looked_into_is_an_error_that_names_it() -> None:
    path = f'{300 * "x"}/own.onnx'
    with pytest.raises(ModelFileError, match=path):
        load_engine(EngineSettings(language_model_path=path, threads=1))


@pytest.mark.parametrize('file', FILES)
@pytest.mark.parametrize('damage', ['missing', 'empty', 'random', 'cut', 'folder', 'text'])
def test_bad_file_is_an_error_that_names_it(file: str, damage: str, folder: Path) -> None:
    path = folder / file
    data = path.read_bytes()
    path.unlink()
    if damage == 'folder':
        path.mkdir()
    elif damage != 'missing':
        path.write_bytes({
            'empty': b'',
            'random': random.Random(file).randbytes(5000),
            'cut': data[:len(data) // 2],
            'text': b'version https://git-lfs.github.com/spec/v1\n',
        }[damage])
    with pytest.raises(ModelFileError) as caught:
        load_engine(settings(folder))
    assert str(path) in str(caught.value)


def test_swapped_models_are_an_error_that_names_the_first(folder: Path) -> None:
    (folder / FILES[0]).rename(folder / 'swap')
    (folder / FILES[1]).rename(folder / FILES[0])
    (folder / 'swap').rename(folder / FILES[1])
    with pytest.raises(ModelFileError, match=r'vision_encoder\.onnx is not a vision encoder'):
        load_engine(settings(folder))


def test_encoder_as_language_model_is_an_error_that_names_it(folder: Path) -> None:
    (folder / FILES[1]).write_bytes((folder / FILES[0]).read_bytes())
    with pytest.raises(ModelFileError, match=r'language_model\.onnx is not a language model'):
        load_engine(settings(folder))


def test_tokenizer_of_another_vocabulary_is_an_error(folder: Path) -> None:
    (folder / 'tokenizer.json').write_text('{"pieces": ["ball", "box"]}')
    with pytest.raises(ModelFileError, match=r'language_model\.onnx .* 260 .*tokenizer\.json 262'):
        load_engine(settings(folder))


def test_encoder_of_another_dim_is_an_error_that_names_both(
    folder: Path, write_encoder: Write,
) -> None:
    write_encoder(folder / 'vision_encoder.onnx', dim=5)
    with pytest.raises(ModelFileError, match=r'encoder\.onnx .* 5 .*language_model\.onnx .* 4'):
        load_engine(settings(folder))


def test_profile_for_another_backend_is_an_error(folder: Path) -> None:
    write_profile(folder, backend='scripted')
    message = 'mine is made for the backend scripted, not for onnx'
    with pytest.raises(ModelFileError, match=message):
        load_engine(settings(folder))


@pytest.mark.parametrize('path', ['/nothing.onnx', 'n' * 300, 'nul\0'])
@pytest.mark.parametrize('setting', ['encoder_path', 'language_model_path'])
def test_wrong_path_is_an_error_that_names_it(setting: str, path: str, folder: Path) -> None:
    mine = str(folder / 'mine.yaml')
    with pytest.raises(ModelFileError) as caught:
        load_engine(EngineSettings(model=mine, threads=1, **{setting: path}))
    assert path in str(caught.value)


def test_without_onnxruntime_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(BackendUnavailableError, match=r'pip install onnxruntime.*s\[onnx\]'):
        load_engine(EngineSettings())


def test_scripted_needs_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    events: list[Event] = []
    engine = load_engine(
        EngineSettings(
            'scripted', model='',
            options=ScriptedSettings(image_tokens=7, answers=('one', 'two')),
        ),
        events.append,
    )
    assert engine.encode(PICTURE).tokens == 7
    assert [engine.answer(GenerationRequest('?', ())) for _ in range(3)] == ['one', 'two', 'one']
    assert events


def test_engine_needs_neither_ros_nor_onnxruntime_to_import() -> None:
    script = """
import pkgutil, sys
for name in ('rclpy', 'sensor_msgs', 'onnxruntime', 'vlm_npu_ros.node', 'vlm_npu_ros.msg'):
    sys.modules[name] = None
import vlm_npu_ros.engine
for module in pkgutil.walk_packages(vlm_npu_ros.engine.__path__, 'vlm_npu_ros.engine.'):
    __import__(module.name)
    print(module.name)
"""
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert 'vlm_npu_ros.engine.backends.onnx.language_model' in done.stdout.split()


PINNED = dict(zip(
    ('encoder', 'language_model', 'tokenizer', 'locator', 'locator_tokenizer'),
    (*FILES, *FILES[1:]), strict=True,
))


@pytest.mark.parametrize('part', PINNED)
def test_file_that_is_not_the_pinned_one_is_refused_before_any_is_loaded(
    part: str, folder: Path,
) -> None:
    profile = folder / 'mine.yaml'
    pinned = {
        field: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for field, name in PINNED.items()
    }
    text = profile.read_text().removesuffix('}') + (
        f', locator: {FILES[1]}, locator_tokenizer: {FILES[2]}'
        ', grounding: {prompt: "{object}"}'
    )
    profile.write_text(f'{text}, sha256: {json.dumps(pinned)}}}')
    load_engine(settings(folder)).close()
    pinned[part] = 64 * '0'
    profile.write_text(f'{text}, sha256: {json.dumps(pinned)}}}')
    events: list[Event] = []
    with pytest.raises(ModelFileError, match=f'sha256.{part} is 0000'):
        load_engine(settings(folder), events.append)
    assert not any(isinstance(event, Loading) for event in events)
