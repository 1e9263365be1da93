# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Where pictures and videos come from: files, and addresses on a network."""

from __future__ import annotations

from http.client import HTTPException, HTTPResponse
from io import BufferedReader
from pathlib import Path
import re
from typing import cast, Union
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import (
    build_opener,
    HTTPBasicAuthHandler,
    HTTPDigestAuthHandler,
    HTTPPasswordMgrWithDefaultRealm,
    url2pathname,
)

from vlm_npu_ros.engine.errors import ImageError

SECONDS = 10.0  # to wait for an answer of a server
_ADDRESS = re.compile(r'(\w[\w+.-]*)://', re.ASCII)
# A file, or an address such as rtsp://camera/stream.
Source = Union[Path, str]


def source_of(name: str) -> Source:
    """Return what a name means: an address as it is, anything else as a path."""
    match = _ADDRESS.match(name)
    if match and match[1].lower() == 'file':
        return Path(url2pathname(urlsplit(name).path))
    return name if match else Path(name)


def shown(source: Source) -> str:
    """Return its name for a message, without the password that an address may hold."""
    return re.sub('//[^/?#]*@', '//', source, count=1) if isinstance(source, str) else str(source)


def is_web(source: Source) -> bool:
    """Return whether it is an http or https address."""
    return isinstance(source, str) and source.lower().startswith(('http://', 'https://'))


def opened(source: Source) -> BufferedReader | HTTPResponse:
    """Open a file or a web address for reading; raise ImageError with its name."""
    try:
        if isinstance(source, Path):
            return source.open('rb')
        return _answer(source)
    except URLError as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the server's page
        raise ImageError(f'{shown(source)} cannot be read: {error.reason}') from error
    except OSError as error:
        reason = error.strerror or error
        raise ImageError(f'{shown(source)} cannot be read: {reason}') from error
    except (ValueError, HTTPException) as error:
        raise ImageError(f'{shown(source)} is no address: {error}') from error


def _answer(address: str) -> HTTPResponse:
    parts = urlsplit(address)
    plain = parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()
    passwords = HTTPPasswordMgrWithDefaultRealm()
    if parts.username:
        user, password = unquote(parts.username), unquote(parts.password or '')
        passwords.add_password(None, plain, user, password)
    opener = build_opener(HTTPBasicAuthHandler(passwords), HTTPDigestAuthHandler(passwords))
    return cast(HTTPResponse, opener.open(plain, timeout=SECONDS))
