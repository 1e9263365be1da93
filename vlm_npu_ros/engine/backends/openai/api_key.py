"""The key of a server; it appears in no message."""

from __future__ import annotations

import os
import stat

from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.errors import BackendUnavailableError

_MOST = 10_000  # bytes of a key file


def read_key(settings: OpenAISettings) -> str:
    """
    Return the key from the file or else from the environment variable; '' = there is none.

    Raises BackendUnavailableError if the file cannot be read, or by others as well.
    """
    path, variable = settings.api_key_file, settings.api_key_env
    if path:
        key, source = _read_private(path), f'The file {path} (openai.api_key_file)'
        if not key:
            raise BackendUnavailableError(f'{source} is empty: write the key into it')
    else:
        key, source = os.environ.get(variable, '').strip(), f'The environment variable {variable}'
    if not all('!' <= character <= '~' for character in key):
        raise BackendUnavailableError(
            f'{source} holds no key: a key is one word of ASCII letters, digits and signs'
        )
    return key


def _read_private(path: str) -> str:
    try:
        # Not blocking: it could be a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), 'rb') as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077:
                raise BackendUnavailableError(
                    f'The key file {path} must be a file that only its owner can read: '
                    f'chmod 600 {path}'
                )
            return file.read(_MOST).decode(errors='replace').strip()
    except OSError as error:
        raise BackendUnavailableError(
            f'The key file {path} (openai.api_key_file) cannot be read: {error.strerror}'
        ) from error
