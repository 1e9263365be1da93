# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Rows of the LM head of a Hugging Face model, for probabilities of choices on the NPU.

    python -m vlm_npu_ros.convert.head MODEL_DIR MODEL.rkllm [--before TEXT] [--word WORD ...]

Writes MODEL.head.npz. Needs tokenizers, which transformers brings along; runs on Python 3.9.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
import json
from pathlib import Path
import re
import string
import sys
from typing import Any

import numpy as np
from vlm_npu_ros.convert.checkpoint import Tensor, tensors_in
from vlm_npu_ros.convert.errors import ConversionError, ToolkitMissingError, UsageError
from vlm_npu_ros.engine.choices.words import word_lists
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.engine.model_files.lm_head import LmHead

# What an answer may begin with instead of a choice.
_OTHERS = (
    '<think>', '\n', '**', '"', '{', 'The', 'This', 'There', 'I', 'It', 'In', 'A', 'An', 'Answer',
    'Based', 'To', 'Sorry', 'Unclear', 'unclear',
)
_NORM = r'(\w+\.)*(norm|embedding_norm|final_layernorm)\.weight'  # RMSNorm: no biases
Encode = Callable[[str], 'list[int]']
_DTYPES = {'F32': np.float32, 'F16': np.float16, 'BF16': np.uint16}


def main() -> int:
    """Write the file; print a line of JSON about it at the end."""
    parser = argparse.ArgumentParser(description='Take rows from the LM head of a model.')
    parser.add_argument('model', type=Path, help='folder of the Hugging Face model')
    parser.add_argument('rkllm', type=Path, help='the language model that was made of it')
    parser.add_argument('--before', default='\n', help='text before an answer in a prompt')
    parser.add_argument('--word', action='append', default=[], help='of choices of your own')
    args = parser.parse_args()
    try:
        head = rows_of(args.model, _encoder(args.model), args.before, args.word)
        path = head.save(args.rkllm)
    except (VlmError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return getattr(error, 'exit_code', 1)
    print(json.dumps({'head': str(path), 'rows': len(head.tokens)}))
    return 0


def _encoder(folder: Path) -> Encode:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ToolkitMissingError(f'tokenizers is missing: {error}') from error
    try:
        tokenizer = Tokenizer.from_file(str(folder / 'tokenizer.json'))
    except Exception as error:  # tokenizers raises bare Exceptions
        raise UsageError(f'{folder}/tokenizer.json cannot be used: {error}') from error
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def rows_of(
    folder: Path, encode: Encode, before: str = '\n', more: Iterable[str] = ()
) -> LmHead:
    """
    Take the rows of what typed answers begin with: yes and no, letters, digits, words of `more`.

    encode: gives the tokens of a text. before: text before an answer in a prompt, the end of the
    chat template. Raises a VlmError.
    """
    try:
        config = json.loads((folder / 'config.json').read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f'{folder} is not a Hugging Face model: {error}') from error
    text = {**config, **config.get('text_config', {}), **config.get('llm_config', {})}

    def first(start: str, word: str) -> int | None:
        alone, both = encode(start), encode(start + word)
        return both[len(alone)] if both[:len(alone)] == alone and both[len(alone):] else None

    words = {
        word: token for word in _words(more)
        if (token := first('a' if word[0] == ' ' else before, word)) is not None
    }
    others = {t for t in (first(before, other) for other in _OTHERS) if t is not None}
    tokens = np.array(sorted({*words.values(), *others}), np.int32)
    tensors = {
        name: t for path in sorted(folder.glob('*.safetensors'))
        for name, t in tensors_in(path).items() if t.dtype in _DTYPES
    }
    rows = _rows(_head_in(tensors, text.get('tie_word_embeddings', True)), tokens)
    softcap = float(text.get('final_logit_softcapping') or 0)
    # Gemma's norm multiplies by more than its weights.
    is_known = 'gemma' not in str(config.get('model_type'))
    return LmHead(words, tokens, rows, softcap, **_norm_in(tensors, rows) if is_known else {})


def _words(more: Iterable[str]) -> Iterator[str]:
    """Yield the words, as they stand at the beginning of an answer and behind a space."""
    lists = word_lists()
    known = [*lists['yes'], *lists['no'], *string.ascii_uppercase, *map(str, range(10)), *more]
    for word in dict.fromkeys(' '.join(known).split()):
        for form in dict.fromkeys((word, word.lower(), word.capitalize())):
            yield form
            yield f' {form}'


def _head_in(tensors: dict[str, Tensor], tied: bool) -> Tensor:
    """Find the LM head, or the embeddings that are used in its place."""
    for end in ('lm_head.weight', *(['embed_tokens.weight'] if tied else [])):
        for name, tensor in tensors.items():
            if name.endswith(end) and len(tensor.shape) == 2:
                return tensor
    raise ConversionError('There is no LM head in the weights of this model')


def _norm_in(tensors: dict[str, Tensor], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Find the norm before the head; {} if there is no telling which one that is."""
    found = [t for name, t in tensors.items() if re.fullmatch(_NORM, name)
             and not re.search('vision|visual', name) and t.shape == rows.shape[1:]]
    if len(found) != 1:
        return {}
    weight = _rows(found[0], slice(None))
    return {'norm': np.stack([weight, np.zeros_like(weight)])}


def _rows(tensor: Tensor, which: Any) -> np.ndarray:
    """Read rows of a tensor as float32; all others stay on the disk."""
    if isinstance(which, np.ndarray) and which.max() >= tensor.shape[0]:
        raise ConversionError(f'The LM head in {tensor.path} has {tensor.shape[0]} rows, too few')
    kind: Any = _DTYPES[tensor.dtype]
    rows = np.array(np.memmap(tensor.path, kind, 'r', tensor.start, tensor.shape)[which])
    if tensor.dtype == 'BF16':
        rows = (rows.astype(np.uint32) << 16).view(np.float32)
    return rows.astype(np.float32)


if __name__ == '__main__':
    sys.exit(main())
