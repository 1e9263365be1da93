# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Rows of a language model's LM head, in a small file beside it: X.head.npz of X.rkllm.

They turn the hidden state of the NPU into logits of some tokens: those that the words of typed
answers begin with, and others that an answer may begin with instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
import json
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from vlm_npu_ros.engine.digests import fingerprint
from vlm_npu_ros.engine.errors import ModelFileError

_SMALL, _NORMED = 1e-3, 0.2  # of the largest weight; from 1, of the mean square behind a norm


def head_path(model: Path) -> Path:
    """Return where the rows of a .rkllm file are looked for."""
    return model.with_suffix('.head.npz')


@dataclass(frozen=True)
class LmHead:
    """
    Some rows of an LM head.

    words: the first token of each word, as it stands at the beginning of an answer or, with a
        space before it, later on.
    tokens: (n) int32 that the rows belong to. rows: (n, dim) float16 or float32.
    softcap: of the logits, as Gemma's final_logit_softcapping; 0 = none.
    norm: (2, dim) weights and biases of the norm before the head, by which states are known to be
        those behind it; empty = not known.
    """

    words: dict[str, int]
    tokens: np.ndarray
    rows: np.ndarray
    softcap: float = 0.0
    norm: np.ndarray = field(default_factory=lambda: np.empty((2, 0), np.float32))
    index: dict[int, int] = field(init=False)  # of a token's row

    def __post_init__(self) -> None:
        object.__setattr__(self, 'index', {int(t): i for i, t in enumerate(self.tokens)})

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        """Return (n) logits for (dim) float32, the last layer's state of the newest token."""
        logits = self.rows.astype(np.float32) @ hidden
        return self.softcap * np.tanh(logits / self.softcap) if self.softcap else logits

    def takes(self, hidden: np.ndarray) -> bool:
        """Tell whether a hidden state has the width of the head, and is one behind the norm."""
        weight, bias = self.norm
        if hidden.shape != self.rows.shape[1:]:
            return False
        if not weight.size:
            return True
        used = np.abs(weight) > _SMALL * np.abs(weight).max()
        return abs(np.mean(((hidden - bias) / weight)[used] ** 2) - 1) < _NORMED

    def save(self, model: Path) -> Path:
        """Write the file beside a .rkllm, for which alone it is good; return its path."""
        path = head_path(model)
        facts = {'model': fingerprint(model), 'words': self.words, 'softcap': self.softcap}
        np.savez(path, facts=np.array(json.dumps(facts)), tokens=self.tokens, rows=self.rows,
                 norm=self.norm)
        return path

    @classmethod
    def load(cls, model: Path) -> LmHead | None:
        """Read the file beside a .rkllm; None = there is none. Raises ModelFileError."""
        path = head_path(model)
        if not path.exists():
            return None
        try:
            with open(path, 'rb') as file, np.load(file) as arrays:
                facts = json.loads(str(arrays['facts']))
                tokens, rows, norm = (arrays[name] for name in ('tokens', 'rows', 'norm'))
            made_for = facts['model']
            head = cls(dict(facts['words']), tokens, rows, float(facts['softcap']), norm)
            dim = rows.shape[-1]
            if rows.shape != (len(tokens), dim) or norm.shape not in ((2, 0), (2, dim)):
                raise ValueError(f'its arrays are {tokens.shape}, {rows.shape}, {norm.shape}')
        except (OSError, EOFError, ValueError, LookupError, TypeError, BadZipFile) as error:
            raise ModelFileError(
                f'{path} is not a file of LM-head rows: {error}',
                'Make it anew (vlm-npu convert head)',
            ) from error
        if made_for != fingerprint(model):
            raise ModelFileError(
                f'{path} was made for another file than {model.name}',
                'Make it anew (vlm-npu convert head)',
            )
        return head
