# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Picture files as phones, browsers and broken transfers make them: seen as Pillow sees them."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import cv2
import numpy as np
import pytest
from vlm_npu_ros.engine.errors import ImageError
from vlm_npu_ros.engine.image_files import decode_image

Image = pytest.importorskip('PIL.Image')
ImageOps = pytest.importorskip('PIL.ImageOps')

SIDES = (52, 36)


def scene(mode: str) -> Image.Image:
    """Make a smooth picture without any symmetry, half of it transparent if that is possible."""
    width, height = SIDES
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = [255 * x, 255 * y, 200 * (x - 0.3) ** 2 + 40 * y, 255 * np.clip(2 * x - 0.4, 0, 1)]
    rgba = Image.fromarray(np.dstack(channels).round().astype(np.uint8))
    if mode == 'I;16':
        return Image.fromarray((65535 * (x + y) / 2).astype(np.uint16))
    if mode in ('RGBA', 'LA'):
        return rgba.convert(mode)
    if mode == 'P transparent':
        palette = rgba.convert('RGB').quantize(16)
        palette.info['transparency'] = 3
        return palette
    return rgba.convert('RGB').convert(mode)


def saved(kind: str, mode: str = 'RGB', **options: object) -> bytes:
    file = BytesIO()
    scene(mode).save(file, kind, **options)
    return file.getvalue()


def oriented(orientation: int, little: bool = True) -> bytes:
    exif = Image.Exif()
    exif.endian = '<' if little else '>'
    exif[0x0112] = orientation
    return exif.tobytes()


def by_opencv(end: str, channels: int, dtype: type) -> bytes:
    samples = np.asarray(scene('RGBA')).astype(dtype)[:, :, :channels]
    return cv2.imencode(end, samples * dtype(np.iinfo(dtype).max // 255))[1].tobytes()


DEPTHS = {
    'JPEG': ['L', 'RGB', 'CMYK'],
    'PNG': ['1', 'L', 'LA', 'P', 'P transparent', 'RGB', 'RGBA', 'I;16'],
    'WEBP': ['L', 'RGB', 'RGBA'],
    'GIF': ['1', 'L', 'P', 'P transparent', 'RGB', 'RGBA'],
    'BMP': ['1', 'L', 'P', 'RGB', 'RGBA'],
    'TIFF': ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16'],
    'AVIF': ['L', 'RGB', 'RGBA'],
    'JPEG2000': ['L', 'RGB', 'RGBA', 'I;16'],
    'PPM': ['1', 'L', 'RGB', 'I;16'],
}
OPTIONS: dict[str, list[dict[str, object]]] = {
    'JPEG': [
        {'quality': 60}, {'progressive': True}, {'subsampling': 0}, {'optimize': True},
        {'restart_marker_blocks': 1}, {'comment': b'\xff\xd9\xff\xda' * 40},
        {'xmp': b'<x:xmpmeta/>'}, {'xmp': b'<x:xmpmeta/>', 'exif': oriented(6)},
    ],
    'PNG': [{'optimize': True}, {'bits': 8}, {'dpi': (300, 300)}],
    'WEBP': [{'lossless': True}, {'quality': 30}],
    'GIF': [{'interlace': False}],
    'TIFF': [{'compression': name} for name in ('tiff_lzw', 'tiff_adobe_deflate', 'packbits')],
    'AVIF': [{'subsampling': '4:4:4'}, {'quality': 95}],
    'PPM': [{}],
}
TURNED = ['JPEG', 'PNG', 'WEBP', 'TIFF', 'AVIF']
ANIMATED = {'GIF': 'P', 'PNG': 'RGB', 'WEBP': 'RGB', 'TIFF': 'RGB'}


def whole_files() -> Iterator[tuple[str, bytes]]:
    for kind, modes in DEPTHS.items():
        for mode in modes:
            yield f'{kind} {mode}', saved(kind, mode)
    for kind, choices in OPTIONS.items():
        for options in choices:
            yield f'{kind} {options}', saved(kind, **options)
    for mode, key in (('L', 90), ('RGB', (0, 0, 18))):
        yield f'PNG {mode}, one colour is transparent', saved('PNG', mode, transparency=key)
    for end in ('.png', '.tiff', '.bmp', '.webp', '.jp2'):
        for channels in (1, 3, 4):
            for dtype in (np.uint8, np.uint16):
                if dtype == np.uint8 or end in ('.png', '.tiff'):
                    yield f'OpenCV {end} {channels} {dtype}', by_opencv(end, channels, dtype)
    for kind in TURNED:
        for orientation in range(10):
            for mode in DEPTHS[kind]:
                exif = oriented(orientation, little=mode != 'RGB')
                yield f'{kind} {mode} turned {orientation}', saved(kind, mode, exif=exif)
    for kind, mode in ANIMATED.items():
        others = [scene(mode).rotate(180)] * 2
        yield f'{kind} animated', saved(kind, mode, save_all=True, append_images=others)


def damaged_files() -> Iterator[tuple[str, bytes]]:
    for kind, modes in DEPTHS.items():
        data = saved(kind, modes[-1])
        half = len(data) // 2
        yield f'{kind} + bytes', data + b'\xff\xda' * 500
        yield f'{kind} half', data[:half]
        yield f'{kind} zeros', data[:half] + bytes(half)
        yield f'{kind} header', data[:40]
        yield f'{kind} last bytes', data[:-2]
        yield f'{kind} twice', data + data


def by_pillow(data: bytes) -> np.ndarray | None:
    """Return the pixels as Pillow reads them, on white; None if it does not."""
    try:
        picture = Image.open(BytesIO(data))
        picture.load()
    except (OSError, SyntaxError, ValueError):
        return None
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ('I;16', 'I;16B', 'I'):
        grey = (np.asarray(picture).astype(np.int64) >> 8).astype(np.uint8)
        return np.dstack([grey] * 3)
    if picture.has_transparency_data:
        rgba = picture.convert('RGBA')
        picture = Image.alpha_composite(Image.new('RGBA', rgba.size, 'white'), rgba)
    return np.asarray(picture.convert('RGB'))


def outcome(data: bytes) -> str:
    """Say how a file is seen: 'equal', 'refused', or what is wrong."""
    expected = by_pillow(data)
    try:
        seen = decode_image(data, photograph=True)
    except ImageError as error:
        return 'refused' if error.remedy else f'no remedy: {error}'
    if expected is None:
        return 'read, though Pillow does not'
    if seen.shape != expected.shape:
        return f'{seen.shape} instead of {expected.shape}'
    apart = np.abs(seen.astype(int) - expected).max()
    return 'equal' if apart <= 2 else f'{apart} levels apart'


# Formats that older versions of OpenCV do not read.
NOT_EVERYWHERE = {'GIF', 'AVIF', 'WEBP animated'}
# It has no end marker; it has the header of a file in its last segment.
OURS_ALONE = {'JPEG last bytes', 'JPEG2000 twice'}


@pytest.mark.filterwarnings('ignore')  # Pillow's, of what is damaged
def test_pictures_are_seen_as_pillow_sees_them_or_a_sentence_says_why_not() -> None:
    whole = {name: outcome(data) for name, data in whole_files()}
    damaged = {name: outcome(data) for name, data in damaged_files()}
    assert len(whole) + len(damaged) >= 150
    refused = {name for name, seen in whole.items() if seen == 'refused'}
    lacking = {kind for kind in NOT_EVERYWHERE if refused & {kind, f'{kind} RGB'}}
    assert not [name for name in refused if not name.startswith((*lacking, 'TIFF LA'))]
    wrong = {
        name: seen for name, seen in {**whole, **damaged}.items()
        if seen not in ('equal', 'refused') and name not in OURS_ALONE
    }
    assert not wrong
    assert damaged['JPEG last bytes'].startswith('read')
    for kind in DEPTHS.keys() - lacking:
        assert damaged[f'{kind} + bytes'] == 'equal'
        assert damaged[f'{kind} half'] == damaged[f'{kind} header'] == 'refused'


def test_each_sentence_names_the_format_and_the_way_out() -> None:
    for name, data in damaged_files():
        try:
            decode_image(data, photograph=True)
        except ImageError as error:
            kind = name.split()[0].replace('WEBP', 'WebP').replace('PPM', 'PNM')
            assert kind.replace('JPEG2000', 'JPEG 2000') in error.what
            assert error.remedy.startswith(('Convert it', 'Copy it'))
