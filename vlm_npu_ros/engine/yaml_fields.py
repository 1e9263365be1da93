# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""YAML to dataclasses: names and types are those of the fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, MISSING
import math
from pathlib import Path
import re
import reprlib
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, Union

import yaml

_LARGEST = 1 << 20  # bytes; a model file by mistake has gigabytes


def read_yaml(path: Path) -> Any:
    """Read a small YAML file; raise OSError, or ValueError, which says what is wrong."""
    size = path.stat().st_size
    if size > _LARGEST:
        raise ValueError(f'it has {size} bytes: is it a model file?')
    try:
        return yaml.safe_load(path.read_text(encoding='utf-8'))
    except Exception as error:  # PyYAML also raises IndexError, KeyError and the like
        raise ValueError(str(error) or type(error).__name__) from error


def checked(kind: Any, value: Any, where: str = '') -> Any:
    """
    Convert a YAML value to an annotated type; raise ValueError, which names the field.

        checked(ModelProfile, {'name': 'x', 'backend': 'onnx', 'context': 512})

    where: name of the value in messages.
    """
    arguments = get_args(kind)
    if is_dataclass(kind):
        return _checked_fields(kind, value, where)
    if get_origin(kind) in (Union, UnionType):
        inner = next(a for a in arguments if a is not NoneType)
        return None if value is None else checked(inner, value, where)
    if get_origin(kind) is tuple and isinstance(value, list):
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ValueError(f'{where} must have {len(arguments)} entries, not {len(value)}')
        return tuple(checked(arguments[0], entry, where) for entry in value)
    if get_origin(kind) is dict and isinstance(value, dict):
        keys, values = arguments
        return {checked(keys, k, where): checked(values, v, where) for k, v in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f'{where} must be finite, not {value}')
    if isinstance(value, str) and re.search('[\0\ud800-\udfff]', value):
        raise ValueError(f'{where} holds what no text can hold: {reprlib.repr(value)}')
    if kind is Path and isinstance(value, str):
        return Path(value)
    plain = isinstance(kind, type) and not arguments  # in Python 3.10 dict[int, int] is a type
    if plain and isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value
    names = {str: 'text, in quotes if necessary', int: 'a whole number', float: 'a number',
             bool: 'true or false', tuple: 'a list', dict: 'a mapping'}
    wanted = names.get(get_origin(kind) or kind, 'a path')
    # Abbreviated, because aliases can make a small file expand to a huge value.
    raise ValueError(f'{where} must be {wanted}, not {reprlib.repr(value)}')


def _checked_fields(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f'{where or "it"} must be a mapping of names to values')
    hints, prefix = get_type_hints(kind), f'{where}.' if where else ''
    known = {field.name: field for field in fields(kind)}
    unknown = [str(name) for name in value if name not in known]
    if unknown:
        raise ValueError(f'{prefix}{unknown[0]} is not one of {", ".join(known)}')
    missing = [n for n, field in known.items() if field.default is MISSING and n not in value]
    if missing:
        raise ValueError(f'{", ".join(prefix + name for name in missing)} missing')
    return kind(**{n: checked(hints[n], v, prefix + n) for n, v in value.items()})
