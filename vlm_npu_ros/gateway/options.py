# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Options of the programs that run the gateway, and what they need to be installed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
import importlib.util
from pathlib import Path
from urllib.parse import urlsplit

from vlm_npu_ros.engine.errors import BackendUnavailableError
from vlm_npu_ros.engine.pip import pip_install


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all programs that run the gateway."""
    add = parser.add_argument
    add('--host', default='127.0.0.1',
        help='address to listen on (default: 127.0.0.1, this machine only); another one needs a '
        'token')
    add('--port', type=int, default=8080, help='port to listen on; 0 = any (default: 8080)')
    add('--token-file', type=Path, metavar='FILE',
        help='file with the token that clients must have; without it, one is made and printed '
        'where one is needed')
    add('--allow-origin', action='append', type=_origin, default=[], metavar='ORIGIN',
        help='pages of this site may ask, too, such as https://robots.example; may be repeated')
    add('--max-body-mb', type=at_least(1), default=32, metavar='MB',
        help='largest request, with its pictures (default: 32)')


def at_least(least: int) -> Callable[[str], int]:
    """Make a parser of whole numbers, for an option."""
    def number(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f'{value} is less than {least}')
        return value

    return number


def _origin(text: str) -> str:
    """Parse the origin of a page as browsers send it: scheme and host, nothing after them."""
    parts = urlsplit(text)
    if parts.scheme not in ('http', 'https') or not parts.netloc or text != (
            f'{parts.scheme}://{parts.netloc}'):
        raise argparse.ArgumentTypeError(f'{text!r} is not like https://robots.example')
    return text


def need(*packages: str, extra: str = 'web') -> None:
    """Raise BackendUnavailableError, which says what to install, if a package is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise BackendUnavailableError(
            f'The gateway needs {", ".join(missing)}',
            f'Install it: `{pip_install(" ".join(missing))}` (extra: vlm_npu_ros[{extra}])',
        )


def need_web() -> None:
    """Raise BackendUnavailableError if something is missing that the gateway is made of."""
    need('fastapi', 'uvicorn', 'prometheus_client')
