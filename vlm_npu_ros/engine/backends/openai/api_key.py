# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""The key of a server; no message contains it."""

from __future__ import annotations

import os
import stat

from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.errors import BackendUnavailableError

_MOST = 10_000  # bytes of a key file


def read_key(settings: OpenAISettings) -> str:
    """
    Read the key from the file or, without one, from the environment variable; '' = no key.

    Raises BackendUnavailableError if the file cannot be read, or if other users can read it.
    """
    path, variable = settings.api_key_file, settings.api_key_env
    if path:
        key, source = _read_private(path), f'The file {path} (openai.api_key_file)'
        if not key:
            raise BackendUnavailableError(f'{source} is empty', 'Write the key into it')
    else:
        key, source = os.environ.get(variable, '').strip(), f'The environment variable {variable}'
    if not all('!' <= character <= '~' for character in key):
        raise BackendUnavailableError(
            f'{source} does not hold a key: a key is one word of ASCII letters, digits and signs'
        )
    return key


def _read_private(path: str) -> str:
    try:
        # It could be a pipe: do not wait for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), 'rb') as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077:
                raise BackendUnavailableError(
                    f'The key file {path} must be a file that only its owner can read',
                    f'Run `chmod 600 {path}`',
                )
            return file.read(_MOST).decode(errors='replace').strip()
    except OSError as error:
        raise BackendUnavailableError(
            f'The key file {path} (openai.api_key_file) cannot be read: {error.strerror}'
        ) from error
