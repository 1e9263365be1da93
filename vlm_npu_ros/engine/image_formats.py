# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What the bytes of a picture file say of it before anything is decoded.

Sizes are read from the headers, so that a few bytes that would unpack to gigabytes, or take
minutes, are refused first; a file that has lost its end is told from a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import re
import struct
from typing import NamedTuple
import zlib

from vlm_npu_ros.engine.errors import ImageError

HEAD = 64  # bytes that tell the format
# A scan of a JPEG covers all of its pixels in as little as a hundred bytes; encoders write ten.
_MOST_SCANS, _MOST_SEGMENTS = 100, 10_000
CONVERT = 'Convert it to JPEG or PNG'


class Facts(NamedTuple):
    """
    What a header says.

    orientation: 1..8, as in the Exif tag of that name; 1 = as it is.
    transparent: whether it may have an alpha channel.
    premultiplied: whether OpenCV gives colours that are multiplied with it already.
    ended: False if the end marker is missing, so that only decoding can tell what is there.
    data: what to decode, if that is not the whole file.
    """

    width: int
    height: int
    orientation: int = 1
    transparent: bool = False
    premultiplied: bool = False
    ended: bool = True
    data: bytes | None = None


class Format(NamedTuple):
    """
    A file format of pictures.

    signature: what its files begin with.
    facts: reads the header; raises ImageError for a file that is cut short, damaged, or made to
        cost memory or time. None = OpenCV does not read such files.
    remedy: what to do with a file that cannot be read.
    """

    name: str
    signature: re.Pattern[bytes]
    facts: Callable[[bytes], Facts] | None = None
    remedy: str = CONVERT

    def read(self, data: bytes) -> Facts:
        """Return what the header says; raise ImageError."""
        if not self.facts:
            raise ImageError(f'The image is {self.name}, which is not read here', self.remedy)
        try:
            return self.facts(data)
        except (struct.error, IndexError, KeyError) as error:
            raise self.cut_short(data) from error

    def cut_short(self, data: bytes) -> ImageError:
        """Return the error for a file that has lost its end."""
        return ImageError(
            f'The {self.name} image is cut short after {len(data)} bytes', 'Copy it again')

    def damaged(self, how: str) -> ImageError:
        """Return the error for a file that cannot be decoded."""
        return ImageError(f'The {self.name} image {how}', self.remedy)


def format_of(data: bytes) -> Format | None:
    """Return the format of a file that begins with these bytes, None = no picture."""
    return next((form for form in FORMATS if form.signature.match(data, 0, HEAD)), None)


# Start of frame: C0 to CF without C4 (DHT), C8 (JPG) and CC (DAC). ITU-T T.81, table B.1.
_FRAME_MARKERS = frozenset(range(0xc0, 0xd0)) - {0xc4, 0xc8, 0xcc}
_SCAN, _END, _APP1 = 0xda, 0xd9, 0xe1
# Any number of fill bytes (0xff) may precede a marker; the last one counts. TEM, RST0 to RST7 and
# SOI (01, d0 to d8) have no length field and say nothing here.
_MARKER = re.compile(rb'\xff([\x02-\xcf\xd9-\xfe])', re.DOTALL)


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield each marker of a JPEG and where its length field is (ITU-T T.81, B.1.1)."""
    position = 2
    for _ in range(_MOST_SEGMENTS):
        if not (match := _MARKER.search(data, position)):
            return
        position = match.end()
        yield match[1][0], position
        if position + 2 <= len(data):
            position += int.from_bytes(data[position:position + 2], 'big')
    raise JPEG.damaged(f'has more than {_MOST_SEGMENTS} segments')


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Return width and height; raise ImageError if there is no frame header."""
    for marker, position in _segments(data):
        if marker in _FRAME_MARKERS and position + 7 <= len(data):
            height, width = struct.unpack_from('>HH', data, position + 3)
            return width, height
    raise JPEG.cut_short(data)


def _jpeg(data: bytes) -> Facts:
    width, height = jpeg_size(data)
    exif, scans, ended = b'', 0, False
    for marker, position in _segments(data):
        length = int.from_bytes(data[position:position + 2], 'big')
        if marker == _APP1 and not exif and data.startswith(b'Exif\0', position + 2):
            exif = data[position + 8:position + length]
        scans += marker == _SCAN
        if marker == _SCAN and position + length > len(data):  # OpenCV 4.5 would show grey
            raise JPEG.cut_short(data)
        if marker == _END:  # what follows is no part of it, as the video of a motion photo
            ended = True
            break
        if scans > _MOST_SCANS:
            raise JPEG.damaged(f'has more than {_MOST_SCANS} scans')
    return Facts(width, height, exif_orientation(exif), ended=ended)


def _png(data: bytes) -> Facts:
    """
    Read the chunks (PNG specification, 5.3, 5.6 and 11.2.2), of an animation without its frames.

    OpenCV (4.12) allocates the length that a chunk claims before it reads it, searches for image
    data beyond the end, and crashes on damaged animations.
    """
    if len(data) < 33 or data[8:16] != b'\0\0\0\x0dIHDR':
        raise PNG.cut_short(data)
    width, height, depth, colour = struct.unpack_from('>IIBB', data, 16)
    name, position, exif, found, kept = b'', 8, b'', set(), [data[:8]]
    while name != b'IEND':
        length, name = struct.unpack_from('>I4s', data, position)
        start, position = position, position + 12 + length
        if position > len(data):
            raise PNG.cut_short(data)
        if name == b'eXIf':
            exif = data[start + 8:position - 4]
        if name == b'tRNS' and name not in found and colour == 0 and depth in (1, 2, 4, 8):
            kept[1:2] = _palette(kept[1], depth, data[start + 9])
        elif name not in (b'acTL', b'fcTL', b'fdAT'):
            kept.append(data[start:position])
        found.add(name)
    if b'IDAT' not in found:
        raise PNG.damaged('is damaged: it holds no picture')
    return Facts(
        width, height, exif_orientation(exif), colour in (4, 6) or b'tRNS' in found,
        data=b''.join(kept) if b'acTL' in found or (colour == 0 and b'tRNS' in found) else None,
    )


def _palette(header: bytes, depth: int, transparent: int) -> Iterator[bytes]:
    """Yield the header and the palette of a grey PNG, whose transparency OpenCV ignores."""
    levels = range(2 ** depth)
    greys = bytes(level * 255 // levels[-1] for level in levels for _ in range(3))
    alpha = bytes(255 * (level != transparent) for level in levels)
    for name, data in (
        (b'IHDR', header[8:17] + b'\3' + header[18:-4]), (b'PLTE', greys), (b'tRNS', alpha),
    ):
        body = name + data
        yield struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))


def _webp(data: bytes) -> Facts:
    """Read the chunks (RFC 9649, section 2)."""
    if len(data) < 8 + int.from_bytes(data[4:8], 'little'):
        raise WEBP.cut_short(data)
    width = height = 0
    transparent, exif, position = False, b'', 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from('<4sI', data, position)
        body = data[position + 8:position + 8 + length]
        position += 8 + length + length % 2
        if name == b'EXIF':
            exif = body[6:] if body.startswith(b'Exif') else body
        elif name == b'VP8X':
            transparent |= bool(body[0] & 0x10)
            width, height = (1 + int.from_bytes(body[i:i + 3], 'little') for i in (4, 7))
        elif name == b'VP8L' and not width:
            bits = int.from_bytes(body[1:5], 'little')
            width, height = 1 + (bits & 0x3fff), 1 + (bits >> 14 & 0x3fff)
            transparent = bool(bits >> 28 & 1)
        elif name == b'VP8 ' and not width:
            width, height = (side & 0x3fff for side in struct.unpack_from('<HH', body, 6))
    return Facts(width, height, exif_orientation(exif), transparent)


def _gif(data: bytes) -> Facts:
    """Read up to the end of the first picture (GIF89a, sections 18 to 26)."""
    width, height, flags = struct.unpack_from('<HHB', data, 6)
    position = 13 + _colours(flags)
    while data[position] != 0x2c:  # image descriptor
        if data[position] != 0x21:  # extension
            raise GIF.damaged('is damaged: it holds no picture')
        position = _after_blocks(data, position + 2)
    position = _after_blocks(data, position + 11 + _colours(data[position + 9]))
    return Facts(width, height, transparent=True, data=data[:position] + b';')


def _colours(flags: int) -> int:
    """Return the length of a GIF's colour table."""
    return 3 * 2 << (flags & 7) if flags & 0x80 else 0


def _after_blocks(data: bytes, position: int) -> int:
    while length := data[position]:
        position += 1 + length
    return position + 1


def _bmp(data: bytes) -> Facts:
    start, header = struct.unpack_from('<II', data, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from('<HHHH', data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from('<iiHHI', data, 18)
    if compression in (0, 3) and start + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        raise BMP.cut_short(data)
    # A mask for alpha is in the headers that have room for one.
    transparent = header >= 56 and compression == 3 and any(data[66:70])
    return Facts(width, abs(height), transparent=transparent)


def _tiff(data: bytes) -> Facts:
    """Read the first directory (TIFF 6.0, sections 2 and 8, and 15 for tiles)."""
    tags = _tags(data)
    if 50706 in tags or tags.get(254, (0,))[0] & 1 or data[8:10] == b'CR':
        raise ImageError('The image is the raw file of a camera, which is not read here', CONVERT)
    starts, lengths = tags.get(273, tags.get(324, ())), tags.get(279, tags.get(325, ()))
    if any(sum(span) > len(data) for span in zip(starts, lengths, strict=False)):
        raise TIFF.cut_short(data)
    extra, (samples, *_), (bits, *_) = tags.get(338), tags.get(277, (1,)), tags.get(258, (1,))
    if extra and samples == 2:
        raise TIFF.damaged('is grey and transparent, which OpenCV does not read')
    # OpenCV turns it upright itself.
    return Facts(
        tags[256][0], tags[257][0],
        transparent=tags.get(262) == (2,) and samples == 4 and extra != (0,),
        premultiplied=extra == (1,) or (extra == (2,) and bits == 8),
    )


def _avif(data: bytes) -> Facts:
    """Read the properties (ISO/IEC 23008-12, 6.5): its size is that of its largest part."""
    properties = data[:data.find(b'mdat')]
    sizes = [struct.unpack('>II', found) for found in re.findall(
        rb'ispe\0{4}(.{8})', properties, re.DOTALL)]
    turned = re.search(rb'\0\0\0\x09irot(.)', properties, re.DOTALL)
    mirrored = re.search(rb'\0\0\0\x09imir(.)', properties, re.DOTALL)
    quarters = turned[1][0] & 3 if turned else 0
    axis = mirrored[1][0] & 1 if mirrored else None
    if not sizes:
        raise AVIF.cut_short(data)
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Facts(width, height, _TURNED_AND_MIRRORED[axis][quarters], transparent=True)


# The orientation for so many quarter turns anticlockwise, and then a mirror with that axis.
_TURNED_AND_MIRRORED = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


def _jpeg_2000(data: bytes) -> Facts:
    """Read the image size segment (ITU-T T.800, A.5.1) of the code, which ends with a marker."""
    start = data.find(b'\xff\x4f\xff\x51')
    if start < 0 or data.find(b'\xff\xd9', start) < 0:
        raise JPEG_2000.cut_short(data)
    right, bottom, left, top = struct.unpack_from('>4I', data, start + 8)
    return Facts(right - left, bottom - top, transparent=True)


def _pnm(data: bytes) -> Facts:
    header = re.match(rb'P.(?:\s+(?:#.*\n\s*)*(\d{1,9}))(?:\s+(?:#.*\n\s*)*(\d{1,9}))(?!\d)', data)
    if not header:
        raise PNM.cut_short(data)
    return Facts(int(header[1]), int(header[2]))


def exif_orientation(exif: bytes) -> int:
    """Return the orientation, 1..8, that Exif data tell; 1 if they tell none."""
    try:
        (orientation, *_) = _tags(exif).get(274, (1,))
    except (struct.error, IndexError):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


_INTEGERS = {1: 'B', 3: 'H', 4: 'I'}  # BYTE, SHORT and LONG
_MOST_NUMBERS = 1 << 17  # of a tag; a file may have a strip for each row
_TAGS = frozenset([254, 256, 257, 258, 262, 273, 274, 277, 279, 324, 325, 338, 50706])


def _tags(tiff: bytes) -> dict[int, tuple[int, ...]]:
    """Return what is of interest in the first directory of a TIFF structure."""
    order = '<' if tiff.startswith(b'II') else '>'
    (directory,) = struct.unpack_from(f'{order}I', tiff, 4)
    (entries,) = struct.unpack_from(f'{order}H', tiff, directory)
    tags: dict[int, tuple[int, ...]] = {}
    for position in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(f'{order}HHI', tiff, position)
        if tag in _TAGS - tags.keys() and kind in _INTEGERS and 0 < count <= _MOST_NUMBERS:
            layout = f'{order}{count}{_INTEGERS[kind]}'
            start = position + 8
            if struct.calcsize(layout) > 4:
                (start,) = struct.unpack_from(f'{order}I', tiff, start)
            tags[tag] = struct.unpack_from(layout, tiff, start)
    return tags


def _begins(*signatures: bytes) -> re.Pattern[bytes]:
    return re.compile(b'|'.join(signatures), re.DOTALL)


JPEG = Format('JPEG', _begins(rb'\xff\xd8\xff'), _jpeg)
PNG = Format('PNG', _begins(rb'\x89PNG\r\n\x1a\n'), _png)
WEBP = Format('WebP', _begins(rb'RIFF....WEBP'), _webp)
GIF = Format('GIF', _begins(rb'GIF8[79]a'), _gif)
BMP = Format('BMP', _begins(rb'BM.{12}[\x0c-\x7c]\0\0\0'), _bmp)
TIFF = Format('TIFF', _begins(rb'II\*\0', rb'MM\0\*'), _tiff)
PNM = Format('PNM', _begins(rb'P[1-6]\s'), _pnm)
# The first of a file's brands may be that of the container alone.
AVIF = Format('AVIF', _begins(rb'....ftyp(?:avi[fs]|m[is]f1....(?:....)*?avi[fs])'), _avif)
JPEG_2000 = Format('JPEG 2000', _begins(rb'\0\0\0\x0cjP  '), _jpeg_2000)
FORMATS = (
    JPEG, PNG, WEBP, GIF, BMP, TIFF, PNM, AVIF, JPEG_2000,
    Format(
        'HEIC, as an iPhone writes it', _begins(rb'....ftyp(?:he[iv]|mif1|msf1)'),
        remedy='Convert it to JPEG (on the phone: Camera, Formats, Most Compatible)',
    ),
    Format('JPEG XL', _begins(rb'\xff\x0a', rb'\0\0\0\x0cJXL ')),
    Format('the raw file of a camera', _begins(rb'....ftypcrx', rb'FUJI', rb'IIRO', rb'IIU\0')),
    Format('a TIFF of more than 4 GB', _begins(rb'II\+\0', rb'MM\0\+')),
    Format('a Photoshop file', _begins(rb'8BPS')),
    Format('a PDF document', _begins(rb'%PDF')),
    Format('an SVG drawing', _begins(rb'\s*<svg', rb'\s*<\?xml.*<svg')),
    Format('an icon', _begins(rb'\0\0[\1\2]\0[^\0]\0')),
    Format('OpenEXR', _begins(rb'\x76\x2f\x31\x01')),
    Format('Radiance HDR', _begins(rb'#\?R')),
    Format('QOI', _begins(rb'qoif')),
    Format('DDS', _begins(rb'DDS ')),
)
