"""
What an .onnx file says about itself, without any library.

An ONNX file is a protobuf message (onnx.proto); only the fields that are shown are read, so a
file of gigabytes takes moments, and a graph that no runtime accepts can be looked at, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import math
import mmap
from pathlib import Path

from vlm_npu_ros.engine.errors import ModelFileError

# Numbers of fields: ModelProto, GraphProto, ValueInfoProto, TensorProto.
_PRODUCER, _PRODUCER_VERSION, _GRAPH, _OPSET = 2, 3, 7, 8
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12
_VALUE_NAME, _VALUE_TYPE = 1, 2
_DIMS, _TENSOR_NAME, _EXTERNAL = 1, 8, 13

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5  # wire types
_TYPES = {
    1: 'float32', 2: 'uint8', 3: 'int8', 6: 'int32', 7: 'int64', 9: 'bool', 10: 'float16',
    11: 'float64', 16: 'bfloat16',
}

Range = tuple[int, int]  # of bytes: first, after the last


@dataclass(frozen=True)
class Tensor:
    """What goes in or out; sides that are not constant have a name, '' if they have none."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class OnnxFile:
    """
    A graph as its file describes it.

    opset: version of the operators of ONNX itself.
    parameters: how many numbers are stored in it.
    data: files beside it that hold them.
    """

    path: Path
    opset: int
    producer: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    data: tuple[Path, ...]

    @classmethod
    def read(cls, path: Path) -> OnnxFile:
        """Return what the file says; raise ModelFileError if it is no ONNX file."""
        try:
            with open(path, 'rb') as file, mmap.mmap(
                file.fileno(), 0, access=mmap.ACCESS_READ
            ) as data:
                return _model(path, data)
        except OSError as error:
            raise ModelFileError(f'{path} can not be read: {error}') from error
        except (ValueError, IndexError, TypeError, KeyError) as error:
            raise ModelFileError(
                f'{path} is no ONNX file, or it is cut short or damaged ({error}). Copy or '
                'download it again'
            ) from error


def _model(path: Path, data: mmap.mmap) -> OnnxFile:
    model = list(_fields(data, (0, len(data))))
    (graph,) = _all(model, _GRAPH)
    parts = list(_fields(data, graph))
    stored: dict[str, int] = {}
    files = set()
    for place in _all(parts, _INITIALIZER):
        name, count, file = _initializer(data, place)
        stored[name] = count
        files.add(file)
    # Old files list what is stored among the inputs as well.
    inputs = [_tensor(data, place) for place in _all(parts, _INPUT)]
    return OnnxFile(
        path=path,
        opset=_opset(data, _all(model, _OPSET)),
        producer=' '.join(
            _text(data, place) for number in (_PRODUCER, _PRODUCER_VERSION)
            for place in _all(model, number)
        ).strip(),
        inputs=tuple(i for i in inputs if i.name not in stored),
        outputs=tuple(_tensor(data, place) for place in _all(parts, _OUTPUT)),
        parameters=sum(stored.values()),
        data=tuple(path.parent / name for name in sorted(files - {''})),
    )


def _opset(data: mmap.mmap, places: list[Range]) -> int:
    """Return the version that is given for ONNX's own domain, which has no name."""
    for place in places:
        entry = dict(_fields(data, place))
        if 1 not in entry or _text(data, entry[1]) in ('', 'ai.onnx'):
            return _number(entry[2])
    raise ValueError('it names no version of the operators')


def _tensor(data: mmap.mmap, place: Range) -> Tensor:
    value = dict(_fields(data, place))
    tensor = dict(_fields(data, dict(_fields(data, value[_VALUE_TYPE]))[1]))
    sides = _all(list(_fields(data, tensor[2])), 1) if 2 in tensor else []
    return Tensor(
        _text(data, value[_VALUE_NAME]),
        _TYPES.get(_number(tensor[1]), f'type {tensor[1]}'),
        tuple(_side(data, side) for side in sides),
    )


def _side(data: mmap.mmap, place: Range) -> int | str:
    side = dict(_fields(data, place))
    if 1 in side:
        return _number(side[1])
    return _text(data, side[2]) if 2 in side else ''


def _initializer(data: mmap.mmap, place: Range) -> tuple[str, int, str]:
    """Return the name of what is stored, how many numbers it has, and the file beside."""
    name, dims, file = '', [], ''
    for number, value in _fields(data, place):
        if number == _TENSOR_NAME:
            name = _text(data, value)
        elif number == _DIMS:
            dims += [value] if isinstance(value, int) else _varints(data, value)
        elif number == _EXTERNAL:
            entry = dict(_fields(data, value))
            if _text(data, entry[1]) == 'location':
                file = _text(data, entry[2])
    return name, math.prod(dims), file


def _all(fields: list[tuple[int, int | Range]], number: int) -> list[Range]:
    return [value for n, value in fields if n == number and isinstance(value, tuple)]


def _number(value: int | Range) -> int:
    if not isinstance(value, int):
        raise TypeError('a number is expected')
    return value


def _text(data: mmap.mmap, place: int | Range) -> str:
    if isinstance(place, int):
        raise TypeError('a text is expected')
    return data[slice(*place)].decode()


def _fields(data: mmap.mmap, place: int | Range) -> Iterator[tuple[int, int | Range]]:
    """Yield the number of each field of a message, and its number or where its bytes are."""
    if isinstance(place, int):
        raise TypeError('a message is expected')
    at, end = place
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f'wire type {kind}')
        if at + length > end:
            raise ValueError('a field is longer than what it is in')
        yield key >> 3, (at, at + length)
        at += length


def _varints(data: mmap.mmap, place: Range) -> list[int]:
    at, end = place
    numbers = []
    while at < end:
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Return a number in groups of seven bits, the lowest first, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at
        if shift > 63:
            raise ValueError('a number is too long')
