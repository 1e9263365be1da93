# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import resource
import struct

import pytest
from vlm_npu_ros.engine.errors import ModelFileError
from vlm_npu_ros.engine.model_files.rknn import RknnFile
from vlm_npu_ros.engine.share import share_dir

DATA = Path(__file__).resolve().parents[2] / 'data'
ENCODERS = sorted(path.name for path in DATA.glob('*.rknn') if 'encrypted' not in path.name)
CLIP_MEAN = (122.7709383, 116.7460125, 104.09373615)
CLIP_STD = (68.5005327, 66.6321579, 70.32316305)
HALF = (127.5, 127.5, 127.5)

Edit = Callable[[bytes], bytes]


def expected(name: str, **changes: object) -> RknnFile:
    fields = {
        'size': 32, 'layout': 'nhwc', 'mean': CLIP_MEAN, 'std': CLIP_STD, 'outputs': ((16, 8),),
        'platform': 'rk3588', 'toolkit': '2.3.2', 'custom_string': '{"model": "tiny"}',
    }
    return RknnFile(path=DATA / name, **{**fields, **changes})


def edited(tmp_path: Path, edit: Edit, name: str = 'tiny_folded_2.3.2.rknn') -> Path:
    path = tmp_path / 'edited.rknn'
    path.write_bytes(edit((DATA / name).read_bytes()))
    return path


def replaced(old: bytes, new: bytes) -> Edit:
    """Return an edit of one text of a file; its length must stay, so spaces fill it up."""
    def edit(data: bytes) -> bytes:
        assert old in data and len(new) <= len(old)
        return data.replace(old, new.ljust(len(old)), 1)
    return edit


@pytest.mark.parametrize('wanted', [
    expected('tiny_folded_2.3.2.rknn'),
    expected('tiny_folded_2.5.0.rknn', toolkit='2.5.0'),
    expected('tiny_float.rknn', mean=None, std=None),
    expected(
        'tiny_four.rknn', mean=HALF, std=HALF, outputs=((16, 8),) * 4,
        custom_string='{"model": "tiny_four"}',
    ),
    expected(
        'demo_encoder.rknn', size=128, mean=HALF, std=HALF, outputs=((1, 64, 128),),
        custom_string='{"model": "demo"}',
    ),
], ids=lambda wanted: wanted.path.name)
def test_reads_what_rknn_toolkit2_wrote(wanted: RknnFile) -> None:
    found = RknnFile.read(wanted.path)
    assert found == wanted
    assert found.folded == (wanted.mean is not None)
    assert (found.tokens, found.dim) == wanted.outputs[0][-2:]


@pytest.mark.parametrize('mean, std, folded', [
    (b'[0]', b'[1]', False),  # as 2.5.0 writes it
    (b'[0, 0, 0]', b'[1, 1, 1]', False),
    (b'[0, 0, 0]', b'[255, 255, 255]', True),
    (b'[1, 0, 0]', b'[1, 1, 1]', True),
])
def test_tells_whether_normalisation_is_folded_in(
    mean: bytes, std: bytes, folded: bool, tmp_path: Path,
) -> None:
    def edit(data: bytes) -> bytes:
        data = replaced(b'[122.7709383, 116.7460125, 104.09373615]', mean)(data)
        return replaced(b'[68.5005327, 66.6321579, 70.32316305]', std)(data)

    assert RknnFile.read(edited(tmp_path, edit)).folded == folded


def test_outputs_are_in_the_order_of_their_index(tmp_path: Path) -> None:
    def edit(data: bytes) -> bytes:
        text = b"'is_output': True, 'idx': %d, 'shape': [16, 8]"
        data = replaced(text % 0, b"'is_output': 1, 'idx': 9, 'shape': [1,16,8]")(data)
        return replaced(text % 3, b"'is_output': True, 'idx': 3, 'shape': [32, 8]")(data)

    with pytest.raises(ModelFileError) as caught:
        RknnFile.read(edited(tmp_path, edit, 'tiny_four.rknn'))
    assert '[(16, 8), (16, 8), (32, 8), (1, 16, 8)]' in str(caught.value)


def test_input_layout_is_that_of_the_runtime(tmp_path: Path) -> None:
    path = edited(tmp_path, replaced(b'"layout": "NHWC"', b'"layout": "NCHW"'))
    assert RknnFile.read(path).layout == 'nchw'


def test_custom_string_may_be_missing(tmp_path: Path) -> None:
    def edit(data: bytes) -> bytes:
        root = 64 + struct.unpack_from('<I', data, 64)[0]
        fields = root - struct.unpack_from('<i', data, root)[0]
        at = fields + 4 + 2 * 11
        return data[:at] + bytes(2) + data[at + 2:]

    assert RknnFile.read(edited(tmp_path, edit)).custom_string == ''


@pytest.mark.parametrize('text, message', [
    (b'', 'is empty. Copy or download'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 854000000\n',
     'git-LFS pointer.*git lfs pull'),
    (b'\n<!DOCTYPE html>\n<html lang="en">', 'web page'),
    (b'<HTML><head>', 'web page'),
    (b'GGUF\3\0\0\0', 'GGUF'),
    (b'PK\3\4\x14\0', 'ZIP archive'),
    (bytes(range(100, 200)), "begins with '64 65 66 67 68 69 6a 6b', not with 'RKNN'"),
    (b'RKNN', 'cut short or damaged: it has 4 bytes'),
], ids=['empty', 'LFS', 'page', 'PAGE', 'GGUF', 'ZIP', 'random', 'mark alone'])
def test_other_content_is_named(text: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / 'encoder.rknn'
    path.write_bytes(text)
    with pytest.raises(ModelFileError, match=f'(?s){message}') as caught:
        RknnFile.read(path)
    assert str(path) in str(caught.value)
    with pytest.raises(ModelFileError):
        RknnFile.try_read(path)


@pytest.mark.parametrize('path', [
    share_dir() / 'resource' / 'demo_model' / 'vision_encoder.onnx',
    DATA / 'tiny.onnx',
], ids=['by torch', 'by onnx'])
def test_onnx_file_is_named(path: Path) -> None:
    with pytest.raises(ModelFileError, match='is an ONNX file. Convert it for the NPU'):
        RknnFile.read(path)


def test_language_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'qwen.rkllm'
    path.write_bytes(b'some weights')
    with pytest.raises(ModelFileError, match='encoder and language model swapped'):
        RknnFile.read(path)


@pytest.mark.parametrize('name, message', [
    ('missing.rknn', 'cannot be read.*No such file'),
    ('.', 'cannot be read.*Is a directory'),
    ('a\0b.rknn', 'cannot be read.*null'),
])
def test_path_that_is_no_file_is_an_error(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=f'(?s){message}'):
        RknnFile.read(tmp_path / name)


@pytest.mark.parametrize('name', ENCODERS)
@pytest.mark.parametrize('share', [0, 0.001, 0.01, 0.5, 0.99, 0.99999])
def test_file_that_is_cut_short_is_an_error(name: str, share: float, tmp_path: Path) -> None:
    path = edited(tmp_path, lambda data: data[:8 + int(share * (len(data) - 8))], name)
    with pytest.raises(ModelFileError, match='cut short or damaged'):
        RknnFile.try_read(path)


@pytest.mark.parametrize('old, new, message', [
    (b'[1, 3, 32, 32]', b'[1, 3, 32, 64]', r'a square RGB picture, found .*\[1, 3, 32, 64\]'),
    (b'[1, 3, 32, 32]', b'[1, 1, 32, 32]', 'a square RGB picture'),
    (b'[1, 3, 32, 32]', b'[3072]', 'a square RGB picture'),
    (b"'layout': 'nchw'", b"'layout': 'flat'", r'a square RGB picture.*\(flat\)'),
    (b"'shape': [16, 8]", b"'shape': [128]", r'outputs of \(tokens, dim\).*\(128,\)'),
    (b"'shape': [16, 8]", b"'shape':[2,8,8]", r'outputs of \(tokens, dim\).*\(2, 8, 8\)'),
    (b"'shape': [16, 8]", b"'shape': [-1,8]", r'outputs of \(tokens, dim\)'),
    (b"'is_output': True", b"'is_output': 0", 'expected one input, the picture, found 2: pixel'),
    (b"'is_output': False", b"'is_output': True ", 'expected one input, the picture, found 0'),
])
def test_model_that_is_no_encoder_is_an_error(
    old: bytes, new: bytes, message: str, tmp_path: Path,
) -> None:
    path = edited(tmp_path, replaced(old, new))
    with pytest.raises(ModelFileError, match=message):
        RknnFile.try_read(path)


@pytest.mark.parametrize('edit', [
    replaced(b"{'attrs': ", b"{'other': "),
    replaced(b"{'attrs': ", b'((((((((('),
    replaced(b"'mean': ", b"'meen': "),
    replaced(b"'mean': ", b"'me\xffn': "),
    replaced(b'{"pixel": {"dtype"', b'[[[['),
    lambda data: data[:64] + bytes(400) + data[464:],
    lambda data: data[:64] + b'\xff' * 4 + data[68:],
], ids=['other', 'no Python', 'no mean', 'no text', 'no JSON', 'zeros', 'far away'])
def test_description_that_is_not_understood_is_left_to_the_runtime(
    edit: Edit, tmp_path: Path,
) -> None:
    path = edited(tmp_path, edit)
    assert RknnFile.try_read(path) is None
    with pytest.raises(ModelFileError, match='does not tell its shapes: it is encrypted, or'):
        RknnFile.read(path)


def test_encrypted_file_is_left_to_the_runtime(tmp_path: Path) -> None:
    path = DATA / 'tiny_encrypted.rknn'
    assert RknnFile.try_read(path) is None
    with pytest.raises(ModelFileError, match='encrypted.*Export it unencrypted'):
        RknnFile.read(path)
    other = tmp_path / 'other.rknn'
    other.write_bytes(b'RKCE' + bytes(60))
    assert RknnFile.try_read(other) is None


def test_reads_no_more_of_a_large_file_than_it_needs(tmp_path: Path) -> None:
    # As large as the largest encoders: zeros between body and trailer, a hole in the file.
    data, path = (DATA / 'tiny_folded_2.3.2.rknn').read_bytes(), tmp_path / 'large.rknn'
    size, (body,) = 1 << 30, struct.unpack_from('<Q', data, 16)
    with open(path, 'wb') as file:
        file.write(data[:16] + struct.pack('<Q', size) + data[24:64 + body])
        file.seek(64 + size)
        file.write(data[64 + body:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert RknnFile.read(path).size == 32
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 20_000  # KiB


def test_any_damage_to_the_description_is_noticed_or_harmless(tmp_path: Path) -> None:
    # Every outcome but these two would be an exception of another kind.
    data = (DATA / 'tiny_folded_2.3.2.rknn').read_bytes()
    path, results = tmp_path / 'damaged.rknn', []
    for at in range(64, 1400, 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1:])
        try:
            results.append(RknnFile.try_read(path))
        except ModelFileError:
            results.append(None)
    assert None in results
    assert any(result is not None for result in results)
