# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Names of nodes."""

from __future__ import annotations

import re

_NAME = re.compile('(/[A-Za-z_][A-Za-z0-9_]*)+')
_LONGEST = 200  # characters; the names of services are longer, and DDS allows 255


def full_name(node: str, namespace: str = '') -> str:
    """
    Return the fully qualified name of a node.

        full_name('vlm', 'robot1') == full_name('/robot1/vlm') == '/robot1/vlm'

    Raises ValueError, which says what is wrong, if no node can have that name.
    """
    space = namespace.strip('/')
    if space and node.startswith('/'):
        raise ValueError(f'{node!r} has a namespace of its own: leave out {namespace!r}')
    name = '/'.join(['', *filter(None, [space]), node.removeprefix('/')])
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ValueError(
            f'{name[:_LONGEST]!r} cannot be the name of a node: write it like vlm or /robot1/vlm, '
            'with letters, digits and _'
        )
    return name
