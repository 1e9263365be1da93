# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Read the language model of the demo back from the files that the node loads."""

from __future__ import annotations

from pathlib import Path

from model import LanguageModel
import onnx
from onnx import numpy_helper
import torch
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vocabulary import tokenizer_of


def restore(path: Path, tokenizer: Tokenizer) -> LanguageModel:
    """Load a language model, with random rows for tokens that only the tokenizer has."""
    graph = onnx.load(path).graph
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    # Matrices have no useful names in the graph; they are recognised by their order.
    matrices = [
        known[node.input[1]].T
        for node in graph.node
        if node.op_type == 'MatMul' and node.input[1] in known
    ]
    adapts = 'adapter.up.bias' in known
    language = LanguageModel(len(tokenizer), tokenizer.special['<image>'], adapts)
    with torch.no_grad():
        for name, weight in language.named_parameters():
            array = known[name] if name in known else matrices.pop(0)
            # Only the embedding and the head have a row for each token.
            weight[:len(array)] = torch.from_numpy(array.copy())
    assert not matrices, 'the graph has more matrices than the model'
    return language


def extended(tokenizer: Tokenizer, texts: list[str]) -> Tokenizer:
    """Add the words of the texts to a tokenizer; the old tokens keep their numbers."""
    known = set(tokenizer.pieces)
    new = [p for p in tokenizer_of(texts).pieces if p not in known]
    return Tokenizer([*tokenizer.pieces, *new])
