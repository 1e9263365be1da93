# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Arguments of the program that have no effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import itertools
from pathlib import Path
import re
from typing import Any

from rclpy.utilities import remove_ros_args
import yaml

_WILDCARDS = {'**': r'(/\w+)*', '*': r'/\w+'}


def without_effect(arguments: Sequence[str], node: str) -> Iterator[str]:
    """
    Describe what rcl ignores without a word: arguments outside of --ros-args, files for others.

    arguments: of the program, its name first. node: its fully qualified name.
    """
    loose = remove_ros_args(list(arguments))[1:]
    if loose:
        yield (
            f'{" ".join(loose)} has no effect: parameters are given by --ros-args -p NAME:=VALUE'
        )
    for flag, path in itertools.pairwise(arguments):
        if flag == '--params-file':
            try:
                content = yaml.load(Path(path).read_bytes(), Loader=yaml.BaseLoader)
            except (yaml.YAMLError, OSError):  # rcl reads what PyYAML does not, and says the rest
                continue
            names = list(_nodes(content, ''))
            if names and not any(_matches(name, node) for name in names):
                yield f'{path} has parameters of {", ".join(names)}, none of {node}'


def _nodes(content: Any, prefix: str) -> Iterator[str]:
    """List the names of nodes, which may be nested in namespaces."""
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        if key == 'ros__parameters':
            yield prefix
        else:
            yield from _nodes(value, f'{prefix}/{str(key).strip("/")}')


def _matches(name: str, node: str) -> bool:
    tokens = name.strip('/').split('/')
    pattern = ''.join(_WILDCARDS.get(token, f'/{re.escape(token)}') for token in tokens)
    return re.fullmatch(pattern, node) is not None
