# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Options of the programs that run the gateway, and what they need to be installed."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

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
    add('--allow-origin', action='append', default=[], metavar='ORIGIN',
        help='pages of this site may ask, too, such as https://robots.example; may be repeated')
    add('--max-body-mb', type=int, default=32, metavar='MB',
        help='largest request, with its pictures (default: 32)')


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
