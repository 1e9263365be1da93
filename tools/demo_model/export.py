# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Write the trained demo model as the files that the node loads."""

from __future__ import annotations

from pathlib import Path

from model import DIM, IMAGE_SIZE, IMAGE_TOKENS, LanguageModel, LAYERS, VisionEncoder
import torch
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer
from vocabulary import save


def export(
    encoder: VisionEncoder, language: LanguageModel, tokenizer: Tokenizer, folder: Path
) -> None:
    """Write vision_encoder.onnx, language_model.onnx and tokenizer.json."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder.eval()
    torch.onnx.export(
        encoder,
        (torch.zeros(1, IMAGE_SIZE, IMAGE_SIZE, 3, dtype=torch.uint8),),
        str(folder / 'vision_encoder.onnx'),
        dynamo=False,
        opset_version=17,
        input_names=['image'],
        output_names=['embedding'],
    )
    export_language_model(language, tokenizer, folder)


def export_language_model(language: LanguageModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write language_model.onnx and tokenizer.json."""
    save(tokenizer, folder / 'tokenizer.json')
    export_graph(language, folder / 'language_model.onnx')


def export_graph(language: LanguageModel, path: Path) -> None:
    """Write a language model alone."""
    language.eval()
    tokens = torch.zeros(5, dtype=torch.int64)
    image, past = torch.zeros(IMAGE_TOKENS, DIM), torch.zeros(3, LAYERS, 2, DIM)
    torch.onnx.export(
        language,
        (tokens, image, past),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=['tokens', 'image', 'past'],
        output_names=['logits', 'present'],
        dynamic_axes={
            'tokens': {0: 'length'},
            'image': {0: 'rows'},
            'past': {0: 'past'},
            'present': {0: 'length'},
        },
    )
