# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What ten kinds of servers stream, written after their documentation; and odd events."""

from __future__ import annotations

from dataclasses import dataclass
import json
import random
from typing import Any


@dataclass(frozen=True)
class Recording:
    """
    A stream.

    frames: as they are sent, each with the blank line behind it.
    """

    frames: tuple[bytes, ...]
    text: str
    thought: str = ''
    counts: tuple[int, int] | None = None  # tokens read and written


def frame(value: object) -> bytes:
    return b'data: ' + json.dumps(value, ensure_ascii=False).encode() + b'\n\n'


def event(delta: object = None, reason: str | None = None, **more: Any) -> bytes:
    choice = {'index': 0, 'delta': {} if delta is None else delta, 'finish_reason': reason}
    return frame({'id': 'c1', 'object': 'chat.completion.chunk', 'choices': [choice], **more})


def usage(read: int, wrote: int, **more: Any) -> dict[str, Any]:
    return {'prompt_tokens': read, 'completion_tokens': wrote, 'total_tokens': 0, **more}


DONE = b'data: [DONE]\n\n'

STREAMS = {
    'llama.cpp': Recording((
        event({'role': 'assistant', 'content': None}),
        event({'content': 'Two '}), event({'content': 'crates'}), event({'content': '.'}),
        event({}, 'stop'),
        frame({'choices': [], 'usage': usage(310, 3), 'timings': {'prompt_n': 310}}), DONE,
    ), 'Two crates.', counts=(310, 3)),
    'vLLM with a parser of thoughts': Recording((
        event({'role': 'assistant', 'content': ''}),
        event({'reasoning': 'A gate, '}), event({'reasoning': 'I think.'}),
        event({'content': 'The gate'}), event({'content': ' is shut.'}),
        event({'content': ''}, 'stop', usage=None),
        frame({'choices': [], 'usage': usage(800, 9)}), DONE,
    ), 'The gate is shut.', 'A gate, I think.', (800, 9)),
    'vLLM without one': Recording((
        event({'role': 'assistant', 'content': ''}),
        event({'content': '<thi'}), event({'content': 'nk>\nIs it'}),
        event({'content': ' wet?\n</th'}), event({'content': 'ink>'}),
        event({'content': '\n\n'}), event({'content': 'The floor'}),
        event({'content': ' is dry.'}),
        event({}, 'stop', stop_reason=None), DONE,
    ), 'The floor is dry.', '\nIs it wet?\n'),
    'Ollama': Recording((
        event({'role': 'assistant', 'content': '', 'reasoning': 'Hm'}),
        event({'role': 'assistant', 'content': '', 'reasoning': '...'}),
        event({'role': 'assistant', 'content': 'Grün'}),
        event({'role': 'assistant', 'content': 'es Licht'}),
        event({'role': 'assistant', 'content': ''}, 'stop', usage=usage(99, 6)), DONE,
    ), 'Grünes Licht', 'Hm...', (99, 6)),
    'LM Studio': Recording((
        event({'role': 'assistant', 'content': 'One'}, system_fingerprint='lm'),
        event({'content': ' forklift'}, stats={}), event({}, 'stop'), DONE,
    ), 'One forklift'),
    'OpenAI': Recording((
        event({'role': 'assistant', 'content': '', 'refusal': None}, obfuscation='x9', usage=None),
        event({'content': 'It is'}, obfuscation='', usage=None),
        event({'content': ' 7 °C\u2028outside.'}, obfuscation='ab', usage=None),
        event({}, 'stop', service_tier='default', usage=None),
        frame({'choices': [], 'usage': usage(
            500, 8, completion_tokens_details={'reasoning_tokens': 0})}), DONE,
    ), 'It is 7 °C\u2028outside.', counts=(500, 8)),
    'Azure': Recording((
        frame({'choices': [], 'prompt_filter_results': [{'prompt_index': 0}], 'model': ''}),
        event({'role': 'assistant', 'content': ''}),
        event({'content': 'A ladder'}), event({'content': ' leans there.'}),
        event({}, 'stop'),
        DONE,
    ), 'A ladder leans there.'),
    'OpenRouter': Recording((
        b': PROCESSING\n\n', b': PROCESSING\n\n',
        event({'content': '', 'reasoning': 'Left or right?', 'reasoning_details': [
            {'type': 'reasoning.text', 'text': 'Left or right?', 'index': 0}]}),
        event({'content': 'On the'}, provider='P'), event({'content': ' left.'}, provider='P'),
        event({'content': ''}, 'stop', native_finish_reason='STOP'),
        frame({'choices': [{'index': 0, 'delta': {'role': 'assistant', 'content': ''}}],
               'usage': usage(60, 5, cost=0.1)}), DONE,
    ), 'On the left.', 'Left or right?', (60, 5)),
    'Mistral': Recording((
        event({'role': 'assistant', 'content': ''}),
        event({'content': [
            {'type': 'thinking', 'thinking': [{'type': 'text', 'text': 'Count.'}]}]}),
        event({'content': [{'type': 'text', 'text': 'Three'}]}), event({'content': ' pallets'}),
        event({'content': ''}, 'stop', usage=usage(70, 4)), DONE,
    ), 'Three pallets', 'Count.', (70, 4)),
    'rkllm3-server': Recording((
        event({'role': 'assistant', 'content': None}),
        event({'content': 'The '}), event({'content': 'belt runs'}), event({'content': '.<|im_'}),
        event({'content': 'end|>'}), event({}, 'stop'), DONE,
    ), 'The belt runs.'),
}

# Each says nothing that belongs to an answer.
ODD: tuple[bytes, ...] = (
    frame(None), frame(17), frame('still here'), frame([]), frame([1]), frame({}),
    frame({'choices': None}), frame({'choices': 4}), frame({'choices': [8]}),
    frame({'choices': [{}]}), frame({'choices': [{'index': 0, 'delta': None}]}),
    frame({'choices': [{'delta': 'x'}]}), frame({'choices': [{'delta': [2]}]}),
    event({'content': {'a': 1}}), event({'content': 5}), event({'content': [3]}),
    frame({'choices': [{'delta': {}, 'finish_reason': {'a': 1}}]}),
    event(logprobs=1, usage={}), frame({'choices': [], 'usage': {}}),
    frame({'choices': [], 'usage': {'prompt_tokens': 'few', 'completion_tokens': None}}),
    frame({'choices': [], 'usage': usage(-1, 3)}), frame({'choices': [], 'usage': [1]}),
    frame({'choices': [], 'usage': usage(10**30, 3)}),
    frame({'choices': [{'index': 0, 'delta': {}, 'logprobs': {'content': 'all'}}]}),
    frame({'choices': [{'index': 0, 'delta': {}, 'logprobs': {'content': [{'token': 'a'}]}}]})
    .replace(b'{"token": "a"}', b'{"token": "a", "top_logprobs": [{"token": 1, "logprob": "x"}]}'),
    b'data: {"choices": [{"del\n\n', b'data: <html>\n\n', b'data: \xff\xfe\n\n',
)

# Those are no events at all, and are not counted.
QUIET: tuple[bytes, ...] = (
    b': ping\n\n', b'event: ping\n\n', b'id: 4\n\n', b'retry: 100\n\n', b'\n\n', b'data:\n\n',
    b'event: message\r\n', frame({'choices': []}).replace(b'}', b', "usage": null}'),
    event({'role': 'assistant', 'content': ''}), event({'content': None}),
    event({'tool_calls': []}),
)


def cut(data: bytes, chance: random.Random) -> list[bytes]:
    places = sorted(chance.choices(range(len(data)), k=chance.choice((0, 1, 5, 50, len(data)))))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
