# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Talk with the exported demo model about a group of frames, several turns long."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from vlm_npu_ros.engine.backends.onnx.sessions import open_session
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_MAX_ANSWER = 96  # tokens


def prompt_tokens(tokenizer: Tokenizer, question: str) -> list[int]:
    """Encode a question as it follows the image tokens or an earlier answer."""
    special = tokenizer.special
    return [special['<user>'], *tokenizer.encode(question.lower()), special['<assistant>']]


class ChatModel:
    """The language model's graph and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        self.session: InferenceSession = open_session(folder / 'language_model.onnx', 1)
        self.tokenizer = Tokenizer.load(folder / 'tokenizer.json')

    def chat(self, embedding: np.ndarray) -> Chat:
        """
        Begin a dialogue about frames.

        embedding: (image tokens, dim) float32, those of the oldest frame first.
        """
        past = {i.name: i.shape for i in self.session.get_inputs()}['past']
        chat = Chat(self, embedding, np.empty((0, *past[1:]), np.float32))
        chat.read([self.tokenizer.special['<image>']] * len(embedding))
        return chat


class Chat:
    """A dialogue so far, as the graph's keys and values."""

    def __init__(self, model: ChatModel, embedding: np.ndarray, past: np.ndarray) -> None:
        self._model = model
        self._embedding = embedding
        self._past = past

    @property
    def length(self) -> int:
        """Count the tokens so far."""
        return len(self._past)

    def copy(self) -> Chat:
        """Fork: the copy continues from here independently."""
        return Chat(self._model, self._embedding, self._past)

    def ask(self, question: str) -> str:
        """Answer greedily; question and answer become part of the dialogue."""
        tokenizer = self._model.tokenizer
        end = tokenizer.special['<eos>']
        answer: list[int] = []
        token = self.read(prompt_tokens(tokenizer, question))
        while token != end and len(answer) < _MAX_ANSWER:
            answer.append(token)
            token = self.read([token])
        self.read([end])
        return tokenizer.decode(answer)

    def read(self, tokens: list[int]) -> int:
        """Append tokens; return the most likely next one."""
        logits, present = self._model.session.run(
            ['logits', 'present'],
            {'tokens': np.array(tokens), 'image': self._embedding, 'past': self._past},
        )
        self._past = np.concatenate((self._past, present))
        return int(logits.argmax())
