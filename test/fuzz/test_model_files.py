# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Model files that are damaged, swapped, endless or no files at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
import os
from pathlib import Path
import shutil
import struct

from fuzz.fuzzing import examples, Outcomes, Peak
from hypothesis import assume, example, given
from hypothesis import strategies as st
import numpy as np
import pytest
import simulated
from simulated import runtime, weights
from simulated.board import board_tree, use
from vlm_npu_ros.engine.backends.onnx.language_model import OnnxLanguageModel
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.errors import BackendError, ModelFileError
from vlm_npu_ros.engine.images import letterbox
from vlm_npu_ros.engine.loading import load_engine
from vlm_npu_ros.engine.model_files.agreement import check_agreement
from vlm_npu_ros.engine.model_files.profiles import find_model
from vlm_npu_ros.engine.model_files.rkllm import check_rkllm
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.models import AUTO, ImageFormat, load_profile, ModelProfile
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.share import share_dir

SIMULATED = Path(simulated.__path__[0])
DATA = SIMULATED.parent / 'data'
DEMO = share_dir() / 'resource' / 'demo_model'
RANDOM = np.random.default_rng(0).bytes(4000)
PEAK = 100  # MiB that a file which is refused may take, whatever its size

Damage = Callable[[Path], None]


def empty(path: Path) -> None:
    path.write_bytes(b'')


def random(path: Path) -> None:
    path.write_bytes(RANDOM)


def half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def missing(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to('/dev/zero')


def unreadable(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip('root may read everything')
    path.chmod(0)


def swapped_with(name: str) -> Damage:
    def swapped(path: Path) -> None:
        path.write_bytes((path.parent / name).read_bytes())

    swapped.__name__ = f'is-{name}'
    return swapped


DAMAGES = [empty, random, half, missing, folder, pipe, endless, unreadable]


# --- backend onnx ---

ONNX_FILES = (
    'demo.yaml', 'vision_encoder.onnx', 'language_model.onnx', 'tokenizer.json',
    'locating_model.onnx', 'locating_tokenizer.json',
)


@pytest.fixture
def onnx_folder(tmp_path: Path) -> Path:
    for name in ONNX_FILES[1:]:
        shutil.copy(DEMO / name, tmp_path)
    profile = (share_dir() / 'config' / 'models' / 'demo.yaml').read_text()
    (tmp_path / 'demo.yaml').write_text(profile.replace('resource/demo_model', '.'))
    return tmp_path


def load_onnx(folder: Path) -> None:
    load_engine(EngineSettings(model=str(folder / 'demo.yaml'), threads=1)).close()


def test_whole_onnx_files_are_loaded(onnx_folder: Path) -> None:
    load_onnx(onnx_folder)


@pytest.mark.parametrize('damage', DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize('name', ONNX_FILES)
def test_damaged_onnx_file_is_named(
    name: str, damage: Damage, onnx_folder: Path, peak_of: Peak
) -> None:
    damage(onnx_folder / name)

    def load() -> None:
        with pytest.raises(ModelFileError, match=name):
            load_onnx(onnx_folder)

    assert peak_of(load) < PEAK


@pytest.mark.parametrize('other', ONNX_FILES)
@pytest.mark.parametrize('name', ONNX_FILES)
def test_swapped_onnx_file_is_named(name: str, other: str, onnx_folder: Path) -> None:
    if name == other:
        return
    swapped_with(other)(onnx_folder / name)
    with pytest.raises(ModelFileError, match=name):
        load_onnx(onnx_folder)


@pytest.mark.parametrize('name', ['demo.yaml', 'tokenizer.json'])
def test_text_file_of_gigabytes_is_not_read(name: str, onnx_folder: Path, peak_of: Peak) -> None:
    os.truncate(onnx_folder / name, 5 << 30)

    def load() -> None:
        with pytest.raises(ModelFileError, match=f'(?s){name}.*bytes'):
            load_onnx(onnx_folder)

    assert peak_of(load) < PEAK


@pytest.mark.parametrize('name', ONNX_FILES[1:3])
def test_onnx_file_cut_anywhere_is_named(name: str, onnx_folder: Path) -> None:
    data = (onnx_folder / name).read_bytes()
    for length in range(0, len(data), len(data) // 12):
        (onnx_folder / name).write_bytes(data[:length])
        with pytest.raises(ModelFileError, match=name):
            load_onnx(onnx_folder)


def test_context_for_which_there_is_no_memory_is_refused() -> None:
    model = DEMO / 'language_model.onnx'
    with pytest.raises(ModelFileError, match=model.name):
        OnnxLanguageModel('demo', model, DEMO / 'tokenizer.json', context=1 << 40)


@examples(60, 2000)
@given(data=st.data())
def test_damaged_tokenizer_is_refused_or_spells_any_text(
    data: st.DataObject, tmp_path: Path, outcomes: Outcomes
) -> None:
    path = tmp_path / 'tokenizer.json'
    path.write_bytes(data.draw(damaged((DEMO / 'tokenizer.json').read_bytes()[:300] + b'"]}')))
    with counted(outcomes['tokenizer files']):
        tokenizer = Tokenizer.load(path)
        text = data.draw(st.text(max_size=20))
        assert tokenizer.decode(tokenizer.encode(text)) == text


@st.composite
def damaged(draw: st.DrawFn, data: bytes, first: int = 0, last: int | None = None) -> bytes:
    """Return data with a few bytes changed, put in, left out or cut off, between two places."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(first, len(data) if last is None else last))
        new, gone = draw(st.binary(max_size=8)), draw(st.integers(0, 8))
        kept = draw(st.sampled_from([len(data)] * 5 + [at]))
        data = (data[:at] + new + data[at + gone:])[:kept]
    return data


@contextmanager
def counted(counts: Counter[str]) -> Iterator[None]:
    """Count how a file ends, which must be well or in a typed error that the log takes."""
    try:
        yield
    except ModelFileError as error:
        assert len(str(error)) < 2000
        str(error).encode()
        counts[type(error).__name__] += 1
    else:
        counts['accepted'] += 1


# --- backend rknpu ---

NPU_FILES = ('demo.yaml', 'demo.rknn', 'demo.rkllm')


@pytest.fixture(scope='module')
def npu_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('files')
    runtime.build('1.2.3', folder)
    weights.write_model(folder / 'demo.rkllm')
    shutil.copy(DATA / 'demo_encoder.rknn', folder / 'demo.rknn')
    shutil.copy(SIMULATED / 'demo_rknpu.yaml', folder / 'demo.yaml')
    return folder


@pytest.fixture
def npu_folder(npu_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use(monkeypatch, board_tree(tmp_path / 'board'))
    return Path(shutil.copytree(npu_files, tmp_path / 'files'))


def load_npu(folder: Path) -> None:
    load_engine(EngineSettings(
        backend='rknpu',
        model=str(folder / 'demo.yaml'),
        encoder_path=str(folder / 'demo.rknn'),
        language_model_path=str(folder / 'demo.rkllm'),
        options=RknpuSettings(library=str(folder / '1.2.3' / 'librkllmrt.so')),
    )).close()


def test_whole_npu_files_are_loaded(npu_folder: Path) -> None:
    load_npu(npu_folder)


@pytest.mark.parametrize('damage', DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize('name', NPU_FILES)
def test_damaged_npu_file_is_named(
    name: str, damage: Damage, npu_folder: Path, peak_of: Peak
) -> None:
    damage(npu_folder / name)

    def load() -> None:
        with pytest.raises(BackendError, match=name):
            load_npu(npu_folder)

    assert peak_of(load) < PEAK


@pytest.mark.parametrize('other', [*NPU_FILES, '1.2.3/librkllmrt.so'])
@pytest.mark.parametrize('name', NPU_FILES)
def test_swapped_npu_file_is_named(name: str, other: str, npu_folder: Path) -> None:
    if name == other:
        return
    swapped_with(other)(npu_folder / name)
    with pytest.raises(BackendError, match=name):
        load_npu(npu_folder)


@examples(60, 2000)
@given(data=st.data())
def test_damaged_rknn_file_is_refused_or_can_be_fed(
    data: st.DataObject, tmp_path: Path, outcomes: Outcomes
) -> None:
    whole = (DATA / 'tiny_folded_2.3.2.rknn').read_bytes()
    path = tmp_path / 'tiny.rknn'
    tables = 64 + struct.unpack_from('<I', whole, 64)[0]
    first, last = data.draw(st.sampled_from([(0, 100), (tables - 60, tables + 60)]))
    path.write_bytes(data.draw(damaged(whole, first, last)))
    describe(path, outcomes['rknn files'])


@pytest.mark.parametrize('at', [16, 64, 100])
@pytest.mark.parametrize('number', [2**31, 2**32 - 100, 2**63 - 100, 2**63, 2**64 - 1])
def test_number_that_leads_beyond_an_rknn_file_is_refused(
    at: int, number: int, tmp_path: Path
) -> None:
    data = bytearray((DATA / 'tiny_folded_2.3.2.rknn').read_bytes())
    struct.pack_into('<Q', data, at, number)
    path = tmp_path / 'tiny.rknn'
    path.write_bytes(data)
    describe(path, Counter())


@examples(60, 2000)
@given(data=st.data())
def test_odd_description_in_an_rknn_file_is_refused_or_can_be_fed(
    data: st.DataObject, tmp_path: Path, outcomes: Outcomes
) -> None:
    whole = (DATA / 'tiny_folded_2.3.2.rknn').read_bytes()
    start = whole.index(b"{'attrs'")
    end = whole.index(b"'dynamic_shapes': {}}") + len(b"'dynamic_shapes': {}}")
    odd = data.draw(st.dictionaries(st.sampled_from(range(9)), st.sampled_from(ODD), max_size=2))
    attributes = ATTRIBUTES.format(*(odd.get(i, usual) for i, usual in enumerate(USUAL))).encode()
    assume(len(attributes) <= end - start)
    path = tmp_path / 'tiny.rknn'
    path.write_bytes(whole[:start] + attributes.ljust(end - start) + whole[end:])
    describe(path, outcomes['rknn descriptions'])


# As rknn-toolkit2 writes it, and what may stand there.
ATTRIBUTES = (
    "{{'attrs': {{{}: {{'idx': 0, 'shape': {}, 'layout': {}, 'is_output': {}, 'mean': {}, "
    "'std': {}}}, 'out': {{'is_output': {}, 'idx': {}, 'shape': {}}}}}}}"
)
USUAL = ("'in'", '[1, 3, 32, 32]', "'nchw'", '0', '[9.5]', '[9.5, 9.5, 9]', '1', '0', '[16, 8]')
ODD = [
    'None', '0', '-1', '1e999', '-1e999', '1j', '9' * 200, '[]', '()', '{}', "''", "b'x'", "'x'",
    r"'\ud800'", r"'\0'", "'" + 200 * 'y' + "'", '[1]', '[1, 2]', '[0, 0, 0]', '[1e999]',
    '[-1e999, 1, 1]', f'[{9 * "9"}, 1]', '[None]', '[[1], [2]]', '{1: 2}', '{1}', '(1, 2, 3)',
    '[16.0, 8.0]', '[1, 3, 0, 0]', '[1, 3, -5, -5]', '[1, 3, 1e9, 1e9]',
    f'[1, 3, {10**9}, {10**9}]', '[0, 0]', '[2.5, 8.5]', '[True, True]', 99 * '[',
    99 * '(' + 99 * ')', 200 * '-' + '1', 'x', '1 + 1', '...', 'True',
]


def describe(path: Path, counts: Counter[str]) -> None:
    """Do with a .rknn file what is done with it before it is loaded."""
    with counted(counts):
        found = RknnFile.try_read(path)
        if found is None:
            return
        check_agreement(found, 'the file', TINY, 'rk3588', 0)
        find_model(AUTO, path, path, found)
        assert isinstance(found.tokens, int) and isinstance(found.dim, int)
        assert letterbox(np.zeros((4, 4, 3), np.uint8), found.size).size


TINY = ModelProfile(
    'tiny', 'rknpu', 512,
    image=ImageFormat({32: 16}, 1, 8, (9.5 / 255,) * 3, (9.5 / 255,) * 3),
)


@pytest.mark.parametrize(
    'text', ['[' * 100_000, '{"model": ' * 50_000, '{"model": {}}', '\0'],
    ids=['lists', 'mappings', 'mapping', 'zero'],
)
def test_odd_custom_string_says_nothing(text: str) -> None:
    found = RknnFile.read(DATA / 'tiny_folded_2.3.2.rknn')
    with pytest.raises(ModelFileError, match='cannot be told'):
        find_model(AUTO, Path('a.rknn'), Path('a.rkllm'), replace(found, custom_string=text))


STARTS = [
    b'', b'RKLLM', b'\x7fELF', b'RKNN', b'RKCE', b'GGUF', b'PK\3\4', b'\x08\7\x12', b'  <HTML',
]


@examples(60, 2000)
@given(start=st.sampled_from(STARTS), data=st.binary(max_size=100))
def test_bytes_may_be_a_language_model_or_not(
    start: bytes, data: bytes, tmp_path: Path, outcomes: Outcomes
) -> None:
    path = tmp_path / 'a.rkllm'
    path.write_bytes(start + data)
    with counted(outcomes['rkllm files']):
        assert check_rkllm(path) == len(start + data)


# --- profiles ---

PROFILE = """
name: {}
backend: {}
context: {}
max_context: {}
folder: {}
encoder: {}
files: {}
image: {{tokens: {{{}: {}}}, outputs: {}, dim: {}, mean: {}, std: {}}}
tags: {{start: {}, end: {}, content: '<c>'}}
template: {}
stop: {}
min_runtime: {}
published: {{source: me, ram_gb: {}}}
"""
PROFILE_VALUES = (
    'mine', 'rknpu', '512', '512', '.', 'see.onnx', 'mine', '448', '196', '1', '8',
    '[0.5, 0.5, 0.5]', '[0.5, 0.5, 0.5]', "'<s>'", "'</s>'",
    "{system: '', prefix: '<u>', postfix: '<a>'}", "['<e>']", "'1.2.3'", '2',
)
ALIASES = '[' + ', '.join(
    f'&a{i} [{", ".join(10 * [f"*a{i - 1}" if i else "x"])}]' for i in range(12)
) + ']'
ODD_YAML = [
    '', '~', '.nan', '-.inf', '[.nan, .nan, .nan]', '[.inf, 1, 1]', '-1', '0', '0.5', '1e400',
    '9' * 30, '9' * 5000, f'[{"9" * 400}, 1, 1]', 'true', '2024-99-99', '2024-01-01', '0x', '0b',
    '1:99:99', '"\\ud800"', '"\\0"', '"a\\nb"', "''", '[]', '{}', '[[], []]', '{1: 2}',
    '{[1]: 2}', '{? {a: b} : c}', '&a [*a]', '&a {b: *a}', '*nope', ALIASES, '{<<: {a: b}}',
    '<<', '!!int ""', '!!float ""', '!!bool x', '!!timestamp x', '!!binary "x"', '!!set {a}',
    '!!python/object:os.system x', '!mine x', 'x' * 100_000, '[' * 3000, '(' * 9000, '"', "'", '[',
    '}', '%', '@', '`', '\t', 'a{99999999999}', '(?P<a', '\ud7ff', '😀', '\u202e', '--- a', '# ',
]


@examples(60, 1000)
@example(odd={0: r'"\ud800"'})
@example(odd={0: r'"\0"'})
@example(odd={0: ALIASES})
@example(odd={2: '!!int ""', 3: '9' * 30})
@example(odd={6: 'a{99999999999}'})
@example(odd={11: '[.nan, .nan, .nan]'})
@given(odd=st.dictionaries(
    st.sampled_from(range(len(PROFILE_VALUES))), st.sampled_from(ODD_YAML) | st.text(max_size=9),
    min_size=1, max_size=2,
))
def test_odd_profile_is_refused_or_holds_what_can_be_used(
    odd: dict[int, str], tmp_path: Path, outcomes: Outcomes
) -> None:
    path = tmp_path / 'mine.yaml'
    values = (odd.get(i, usual) for i, usual in enumerate(PROFILE_VALUES))
    path.write_text(PROFILE.format(*values), encoding='utf-8')
    with counted(outcomes['profiles']):
        profile = load_profile(str(path))
        repr(profile).encode()
        assert '\0' not in repr(profile)
        assert 1 <= profile.context <= 1 << 20
        assert profile.image and np.isfinite([profile.image.mean, profile.image.std]).all()
