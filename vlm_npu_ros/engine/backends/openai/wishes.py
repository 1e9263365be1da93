# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What a server is asked for besides the answer; it may refuse each of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
import json
from typing import Any

from vlm_npu_ros.engine.backends.openai.messages import choice_arguments, json_arguments
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.errors import BackendUnavailableError
from vlm_npu_ros.engine.types import GenerationRequest

# Arguments without which there is no question; the client may not know all others.
NEEDED = ('model', 'messages')
# What switches thinking off or on: templates of vLLM, SGLang, llama.cpp and rkllm3-server take
# the first, Ollama and OpenAI the second, the best value first.
_TEMPLATE, _EFFORT = 'chat_template_kwargs', 'reasoning_effort'
_EFFORTS = {'off': ('none', 'minimal', 'low'), 'on': ('medium',), 'auto': ()}
# Newer names of arguments.
_RENAMED = {'max_tokens': 'max_completion_tokens'}
_WAYS = {'logprobs': 'logprobs', 'top_logprobs': 'logprobs', 'response_format': 'json_schema'}


@dataclass(frozen=True)
class Wishes:
    """
    What to ask for.

    ways: how a choice may be decided, the best first (OpenAISettings.typed).
    refused: names of arguments, or name=value, that the server does not take.
    """

    ways: tuple[str, ...]
    thinking: str = 'auto'
    extra: str = '{}'  # JSON
    refused: frozenset[str] = frozenset()

    @property
    def way(self) -> str:
        return self.ways[0]

    def arguments(self, body: Mapping[str, Any], request: GenerationRequest) -> dict[str, Any]:
        """Complete the arguments of a chat completion."""
        wanted = {**body, 'stream_options': {'include_usage': True}}
        if request.choices:
            wanted |= choice_arguments(self.way, request.choices)
        elif request.schema is not None:
            wanted |= json_arguments(request.schema)
        if self.thinking != 'auto':
            thinks = self.thinking == 'on'
            wanted[_TEMPLATE] = {'enable_thinking': thinks, 'thinking': thinks}
            efforts = [e for e in _EFFORTS[self.thinking] if f'{_EFFORT}={e}' not in self.refused]
            if efforts:
                wanted[_EFFORT] = efforts[0]
        for old, new in _RENAMED.items():
            if old in self.refused and old in wanted:
                wanted[new] = wanted[old]
        extra = json.loads(self.extra)
        kept = {name: value for name, value in wanted.items() if name not in self.refused} | extra
        return {name: value for name, value in kept.items() if value is not None}

    def optional(self, arguments: Mapping[str, Any]) -> frozenset[str]:
        """List the arguments that could be left out."""
        return frozenset(arguments) - {*NEEDED} - frozenset(json.loads(self.extra))

    def without(self, names: frozenset[str], values: bool, arguments: Mapping[str, Any]) -> Wishes:
        """
        Leave out what the server has refused.

        values: it may take other values.
        """
        ways = tuple(w for w in self.ways if w not in {_WAYS.get(name) for name in names})
        refused = {
            f'{name}={arguments[name]}' if name == _EFFORT and values else name for name in names
        }
        return replace(self, ways=ways or ('parse',), refused=self.refused | refused)

    def fewer(self, request: GenerationRequest) -> Iterator[Wishes]:
        """Yield what else could be asked for, for a server that does not say what it refuses."""
        ways = range(len(self.ways)) if request.choices else range(1)
        form = frozenset() if request.schema is None else frozenset({'response_format'})
        usage = frozenset({'stream_options'})
        for dropped in dict.fromkeys((frozenset[str](), form, usage, _ALL, _ALL | form)):
            for i in ways:
                yield replace(self, ways=self.ways[i:], refused=self.refused | dropped)


_ALL = frozenset({'stream_options', _TEMPLATE, _EFFORT, 'seed'})


def wishes_of(settings: OpenAISettings, ways: tuple[str, ...]) -> Wishes:
    """Take them from the settings; raises BackendUnavailableError if they are wrong."""
    try:
        if not isinstance(json.loads(settings.extra_body or '{}'), dict):
            raise ValueError('it is not an object')
    except ValueError as error:
        raise BackendUnavailableError(
            f'openai.extra_body is not a JSON object: {error}',
            'Write it like {"top_k": 20}; null leaves an argument out',
        ) from None
    return Wishes(ways, settings.thinking, settings.extra_body or '{}')
