# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
A repository on Hugging Face: its files, and how one of them is fetched.

Addresses, tokens, mirrors (HF_ENDPOINT) and errors are those of huggingface_hub. The bytes are
written here, because its own downloads begin again when a program that was killed is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import errno
import os
from pathlib import Path
import re
import shutil
import time
from typing import Any

from vlm_npu_ros.engine.digests import sha256_of
from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.pip import pip_install

_SECONDS = 30.0  # without a byte
_ATTEMPTS = 5  # in a row without a byte
_PAUSE = 0.5  # seconds before the second attempt, doubled before each further one
_AGAIN = (408, 429, 500, 502, 503, 504)  # states of a server that pass


@dataclass(frozen=True)
class RemoteFile:
    """
    A file of a repository.

    path: there. size: bytes. sha256: as the server tells it, '' for small files. key: changes
    with the content.
    """

    path: str
    size: int
    sha256: str
    key: str


class Repository:
    """
    One state of a repository.

        repository = Repository('ggml-org/SmolVLM2-500M-Video-Instruct-GGUF')
        repository.fetch(repository.files[0], Path('model.gguf'), progress=print)

    name: OWNER/REPO. revision: the commit. files: all of them.
    Raises BackendUnavailableError without huggingface_hub, or if the server does not answer, and
    ModelFileError if it does not give what was asked for.
    """

    def __init__(self, name: str) -> None:
        self._library = _library()
        self.name = name
        with _told(name):
            info = self._library.HfApi(endpoint=_endpoint()).model_info(
                name, files_metadata=True, timeout=_SECONDS)
        self.revision = info.sha or 'main'
        self.licence = str(getattr(info.card_data, 'license', '') or '')
        self.files = [
            RemoteFile(
                file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else '',
                file.lfs.sha256 if file.lfs else file.blob_id or '',
            )
            for file in info.siblings or ()
        ]

    def fetch(self, file: RemoteFile, part: Path, progress: Callable[[int], object]) -> None:
        """
        Write a file; what `part` holds of it is kept, and only the rest is asked for.

        A copy in the cache that huggingface_hub shares with other programs is taken instead.
        progress: gets the number of bytes of each piece. Raises ModelFileError, and removes what
        came, if its size or SHA-256 is not what the server announced.
        """
        cached = self._library.try_to_load_from_cache(
            self.name, file.path, revision=self.revision)
        if isinstance(cached, str) and not part.exists():
            shutil.copyfile(cached, part)
            progress(file.size)
        fruitless = 0
        while (have := _size(part)) < file.size:
            failed: BackendUnavailableError | None = None
            try:
                with _told(f'{self.name}/{file.path}'):
                    self._append(file, part, have, progress)
            except BackendUnavailableError as error:
                failed = error
            fruitless = 0 if _size(part) > have else fruitless + 1
            if fruitless >= _ATTEMPTS:
                if failed:
                    raise failed
                break  # the server has less than it announced
            if failed or fruitless:
                time.sleep(_PAUSE * 2 ** fruitless)
        part.touch()  # an empty file
        found = part.stat().st_size
        if found != file.size or file.sha256 and sha256_of(part) != file.sha256:
            part.unlink()
            raise ModelFileError(
                f'{self.name}/{file.path} is not what its server announced: '
                + (f'{found} bytes came, not {file.size}' if found != file.size else
                   'its SHA-256 is another one'),
                'Pull it again; if that does not help, the server or a proxy before it changes it',
            )

    def _append(
        self, file: RemoteFile, part: Path, have: int, progress: Callable[[int], object]
    ) -> None:
        url = self._library.hf_hub_url(
            self.name, file.path, revision=self.revision, endpoint=_endpoint())
        headers = {
            **self._library.utils.build_hf_headers(library_name='vlm_npu_ros'),
            'Accept-Encoding': 'identity',
            **({'Range': f'bytes={have}-'} if have else {}),
        }
        with self._library.get_session().stream(
            'GET', url, headers=headers, follow_redirects=True, timeout=_SECONDS
        ) as answer:
            self._library.utils.hf_raise_for_status(answer)
            goes_on = answer.status_code == 206
            if have and not goes_on:
                progress(-have)  # this server begins at the start
            with open(part, 'ab' if goes_on else 'wb') as output:
                for chunk in answer.iter_bytes():  # as they come, so that a cut loses none
                    output.write(chunk)
                    progress(len(chunk))
                    if output.tell() > file.size:
                        return  # fetch refuses it


def _library() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.utils
    except ImportError as error:
        raise BackendUnavailableError(
            f'Pulling models needs the Python package huggingface_hub: {error}',
            f'Install it: `{pip_install("huggingface_hub")}` (extra: vlm_npu_ros[pull])',
        ) from error
    return huggingface_hub


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _endpoint() -> str | None:
    """Return the address of a mirror; None = Hugging Face."""
    return os.environ.get('HF_ENDPOINT') or None


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub and of the network into those of this package."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelFileError(
            f'{what} may be read only by those who have accepted its terms',
            'Accept them on its page, then `hf auth login`, or set HF_TOKEN',
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError,
            errors.EntryNotFoundError) as error:
        raise ModelFileError(
            f'{what} is not there, or it is private',
            'Correct its name; for a private one `hf auth login`, or set HF_TOKEN',
        ) from error
    except errors.HFValidationError as error:
        raise ModelFileError(f'{what} is not the name of a repository: {error}') from error
    except errors.HfHubHTTPError as error:
        state = getattr(error.response, 'status_code', 0)
        if state in (401, 403):
            raise ModelFileError(
                f'The server refuses {what} ({state})', 'Check HF_TOKEN, or `hf auth login`'
            ) from error
        kind = BackendUnavailableError if state in _AGAIN else ModelFileError
        raise kind(f'The server fails for {what}: {_line(error)}', 'Try again later') from error
    except OSError as error:
        raise _of_system(what, error) from error
    except Exception as error:  # of the HTTP library, whose name changes
        if not type(error).__module__.split('.')[0].startswith(('http', 'requests', 'h11')):
            raise
        raise BackendUnavailableError(
            f'{what} cannot be fetched: {_line(error)}',
            'Check the network; HF_ENDPOINT names a mirror',
        ) from error


def _of_system(what: str, error: OSError) -> ModelFileError | BackendUnavailableError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ModelFileError(
            f'{what} cannot be written: {os.strerror(error.errno)}',
            'Make room, then pull again: it goes on from there',
        )
    if error.filename:
        return ModelFileError(f'{error.filename} cannot be written: {error.strerror}')
    return BackendUnavailableError(
        f'{what} cannot be fetched: {_line(error)}',
        'Check the network; HF_ENDPOINT names a mirror',
    )


def _line(error: Exception) -> str:
    return re.sub(r'\s+', ' ', str(error) or type(error).__name__)[:300]
