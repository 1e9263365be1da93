# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What was found out about a language model on a runtime, kept on disk."""

from __future__ import annotations

from contextlib import suppress
import json
import os
from pathlib import Path
from typing import Any

from vlm_npu_ros.engine.digests import fingerprint
from vlm_npu_ros.engine.share import cache_dir


class Notes:
    """
    A file for each model file and version of the runtime; one that cannot be written is missed.

    tokens: the first token of each word that was learnt. found: how probabilities can be had.
    """

    def __init__(self, model: Path, runtime: str) -> None:
        self._path = cache_dir() / f'{fingerprint(model)}-{runtime}.json'

    def died(self, of: str) -> Path:
        """Return the file that a process leaves that dies of trying `of`, such as 'logits'."""
        return self._path.with_suffix(f'.{of}.died')

    @property
    def tokens(self) -> dict[str, int]:
        return dict(self._read().get('tokens', {}))

    @tokens.setter
    def tokens(self, tokens: dict[str, int]) -> None:
        self._write(tokens=tokens)

    @property
    def found(self) -> str:
        return str(self._read().get('found', ''))

    @found.setter
    def found(self, found: str) -> None:
        self._write(found=found)

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            content = json.loads(self._path.read_text(encoding='utf-8'))
            return content if isinstance(content, dict) else {}
        return {}

    def _write(self, **values: object) -> None:
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(f'.{os.getpid()}')
            new.write_text(json.dumps({**self._read(), **values}), encoding='utf-8')
            os.replace(new, self._path)
