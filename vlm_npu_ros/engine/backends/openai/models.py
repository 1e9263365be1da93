# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Lists of models, in the shapes that servers have for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vlm_npu_ros.engine.backends.openai.settings import MOST_TOKENS
from vlm_npu_ros.engine.control_tags import whole

OWN = 'vlm_npu_ros'  # owner of the models of the gateway
_NAMES = ('id', 'name', 'model', 'key')
_OTHER_NAMES = ('aliases', 'name', 'model', 'root', 'display_name')
# Fields of vLLM, OpenRouter and llama.cpp.
_CONTEXTS = ('max_model_len', 'context_length', 'n_ctx')


@dataclass(frozen=True)
class ServerModel:
    """
    A model of a server.

    names: that a server takes for it, too.
    context: in tokens; 0 = the list does not tell.
    owner: what some servers tell themselves apart by.
    """

    name: str
    names: tuple[str, ...] = ()
    context: int = 0
    owner: str = ''

    @property
    def forgets_silently(self) -> bool:
        """Whether its server drops the oldest messages without a word, as Ollama does."""
        return self.owner == 'library' and not self.context

    @property
    def decides(self) -> bool:
        """Whether its server is the gateway of this package, which decides choices itself."""
        return self.owner == OWN

    @property
    def keeps_dialogues(self) -> bool:
        """Whether its server goes on with the last dialogue unless told not to (RKNN3)."""
        return self.owner == 'rknn'


def read_models(value: Any) -> list[ServerModel] | None:
    """Read a list of models, JSON of any shape; None if it is not one."""
    if isinstance(value, Mapping):
        lists = [part for part in value.values() if isinstance(part, list)]
        lists = [value['data']] if isinstance(value.get('data'), list) else lists
        return read_models(lists[0]) if lists else None
    if not isinstance(value, list):
        return None
    return [model for entry in value if (model := _model(entry))]


def _model(entry: Any) -> ServerModel | None:
    if isinstance(entry, str):
        return ServerModel(whole(entry)) if entry else None
    if not isinstance(entry, Mapping):
        return None
    name = next((entry[n] for n in _NAMES if entry.get(n) and isinstance(entry[n], str)), '')
    owner = entry.get('owned_by')
    return ServerModel(
        whole(name), tuple(map(whole, _other_names(entry))), _context(entry),
        owner if isinstance(owner, str) else '',
    ) if name else None


def _other_names(entry: Mapping[str, Any]) -> Iterator[str]:
    for field in _OTHER_NAMES:
        value = entry.get(field)
        yield from (n for n in (value if isinstance(value, list) else [value])
                    if n and isinstance(n, str))


def _context(entry: Mapping[str, Any]) -> int:
    meta = entry.get('meta')
    places = (meta if isinstance(meta, Mapping) else {}, entry)
    told = (place.get(name) for place in places for name in _CONTEXTS)
    return next((n for n in told if type(n) is int and 0 < n <= MOST_TOKENS), 0)
