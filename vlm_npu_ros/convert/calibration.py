# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What a language model reads about pictures, in the form that rkllm-toolkit calibrates with.

    python -m vlm_npu_ros.convert.calibration MODEL_DIR REQUEST_DIR -o DATA_DIR

REQUEST_DIR holds request.json and pictures.npy, see `Request`. The pictures go through the
model's own vision tower, framed as a board frames them, and what reaches the language model is
written to inputs.json:

    Qwen: [{"sample": "samples/sample_0", "token_nums": 228}, ...], where a sample is a pickle of
        the keywords that the language model is called with (embeddings, positions, deepstack)
    others: [{"input_embed": [[[...], ...]], "target": "the model's answer"}, ...]

Both forms are those of the scripts in airockchip/rknn-llm 1.3.0 (examples/multimodal_model_demo/
data). Needs torch and transformers; runs on Python 3.9, which rkllm-toolkit is made for, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import inspect
import json
from pathlib import Path
import pickle
import sys
from typing import Any, NamedTuple

import numpy as np

MISSING = 3  # exit status: a library is missing
DATASET = 'inputs.json'
QWEN = ('qwen2_vl', 'qwen2_5_vl', 'qwen3_5', 'qwen3_vl')
FAMILIES = (*QWEN, 'internvl', 'smolvlm')  # by model_type in config.json
_SAMPLES = 'samples'
_ANSWER_TOKENS = 32


class Request(NamedTuple):
    """
    What to read.

    pictures: (n, size, size, 3) uint8 RGB. prompts: for each, with `content` once for each token
        of the picture; framed: they include the template, otherwise the tokenizer adds its own.
    mean, std: of RGB scaled to 0..1.
    """

    pictures: np.ndarray
    prompts: list[str]
    content: str
    framed: bool
    mean: list[float]
    std: list[float]

    @classmethod
    def load(cls, folder: Path) -> Request:
        """Read what `save` has written."""
        texts = json.loads((folder / 'request.json').read_text(encoding='utf-8'))
        return cls(np.load(folder / 'pictures.npy'), **texts)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        texts = self._asdict()
        np.save(folder / 'pictures.npy', texts.pop('pictures'))
        (folder / 'request.json').write_text(json.dumps(texts), encoding='utf-8')

    def pixels(self, index: int) -> np.ndarray:
        """Return a picture as the vision tower reads it, (3, size, size) float32."""
        rgb = self.pictures[index].astype(np.float32) / 255
        normalised = (rgb - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normalised.transpose(2, 0, 1))


class Captured(Exception):
    """Not an error: ends the model's work where its language model is called."""


def main() -> int:
    """Write the data; print a line of JSON about it at the end."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('model', type=Path, help='folder of the Hugging Face model')
    parser.add_argument('request', type=Path, help='folder with request.json and pictures.npy')
    parser.add_argument('-o', '--output', type=Path, required=True, help='folder to write into')
    args = parser.parse_args()
    try:
        import torch  # noqa: F401
        from transformers import __version__ as version
    except ImportError as error:
        print(
            'error: calibration with pictures needs torch and transformers: name an environment '
            f'that has them, preferably that of rkllm-toolkit, or calibrate with texts ({error})',
            file=sys.stderr,
        )
        return MISSING
    request = Request.load(args.request)
    reader = Reader(args.model)
    samples = write(
        args.output,
        (reader.read(request, i) for i in range(len(request.prompts))),
        as_keywords=reader.family in QWEN,
    )
    print(json.dumps({
        'family': reader.family,
        'samples': len(samples),
        'tokens': sum(samples),
        'transformers': version,
    }))
    return 0


class Reader:
    """A whole model; `read` tells what its language model gets, and what it answers."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

        self._config = AutoConfig.from_pretrained(folder, local_files_only=True)
        self.family = self._config.model_type
        if self.family not in FAMILIES:
            sys.exit(f'error: {folder} is of the family {self.family}. How a model reads pictures '
                     f'is known for {", ".join(FAMILIES)}')
        print(f'Loading {folder}', flush=True)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # In 16 bits SmolVLM takes wrong positions for its patches: it computes them in the type of
        # the pixels. The encoder of a board has the right ones.
        dtype = 'float32' if self.family == 'smolvlm' else 'auto'
        self._model = AutoModelForImageTextToText.from_pretrained(
            folder, local_files_only=True, dtype=dtype).eval()
        inner = self._model.model
        language_model = inner.text_model if self.family == 'smolvlm' else inner.language_model
        language_model.register_forward_pre_hook(self._capture, with_kwargs=True)
        self._is_captured = True

    def read(self, request: Request, index: int) -> tuple[dict[str, Any], str]:
        """Return the keyword arguments of the language model for a picture, and the answer."""
        import torch

        inputs = self._inputs(request, index)
        print(f'Picture {index + 1} of {len(request.prompts)}: '
              f'{inputs["input_ids"].shape[1]} tokens', flush=True)
        with torch.no_grad():
            try:
                self._model(**inputs)
            except Captured as captured:
                (keywords,) = captured.args
            # Qwen's form of the data has no answers in it.
            answer = '' if self.family in QWEN else self._answer(inputs)
        return keywords, answer

    def _capture(self, module: Any, args: Any, keywords: dict[str, Any]) -> None:
        if self._is_captured:
            raise Captured(keywords)

    def _answer(self, inputs: dict[str, Any]) -> str:
        self._is_captured = False
        tokens = self._model.generate(**inputs, max_new_tokens=_ANSWER_TOKENS, do_sample=False)
        self._is_captured = True
        return str(self._tokenizer.decode(
            tokens[0, inputs['input_ids'].shape[1]:], skip_special_tokens=True))

    def _inputs(self, request: Request, index: int) -> dict[str, Any]:
        import torch

        text = request.prompts[index]
        expected = text.count(request.content)
        if not request.framed:
            text = self._tokenizer.apply_chat_template(
                [{'role': 'user', 'content': text}], tokenize=False, add_generation_prompt=True)
        ids = self._tokenizer(text, add_special_tokens=False, return_tensors='pt').input_ids
        content = ids == self._tokenizer.convert_tokens_to_ids(request.content)
        if content.sum() != expected:
            sys.exit(f'error: the tokenizer of this model does not know {request.content}: is '
                     'the model profile of another family?')
        inputs = {
            'input_ids': ids,
            'attention_mask': torch.ones_like(ids),
            **self._picture(request.pixels(index)),
        }
        if 'mm_token_type_ids' in inspect.signature(self._model.forward).parameters:
            inputs['mm_token_type_ids'] = content.long()
        return inputs

    def _picture(self, pixels: np.ndarray) -> dict[str, Any]:
        import torch

        if self.family == 'internvl':
            return {'pixel_values': torch.from_numpy(pixels[None])}
        if self.family == 'smolvlm':
            return {'pixel_values': torch.from_numpy(pixels[None, None])}
        vision = self._config.vision_config
        side = pixels.shape[-1] // vision.patch_size
        flat = patches(
            pixels, vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)
        return {
            'pixel_values': torch.from_numpy(flat),
            'image_grid_thw': torch.tensor([[1, side, side]]),
        }


def patches(pixels: np.ndarray, patch: int, merge: int, frames: int) -> np.ndarray:
    """Cut a picture into patches, in the order in which Qwen's towers merge them."""
    blocks = pixels.shape[-1] // patch // merge
    x = pixels.reshape(3, blocks, merge, patch, blocks, merge, patch)
    x = x.transpose(1, 4, 2, 5, 0, 3, 6).reshape(-1, 3, 1, patch, patch)
    return np.repeat(x, frames, axis=2).reshape(len(x), -1)


def write(
    folder: Path, samples: Iterator[tuple[dict[str, Any], str]], as_keywords: bool
) -> list[int]:
    """Write the data set; return the number of tokens of each sample."""
    counts = []
    entries: list[dict[str, Any]] = []
    for keywords, answer in samples:
        embeddings = keywords['inputs_embeds']
        counts.append(int(embeddings.shape[1]))
        if not as_keywords:
            embed = np.asarray(embeddings.float()).astype(np.float16)
            entries.append({'input_embed': embed.tolist(), 'target': answer})
            continue
        name = f'{_SAMPLES}/sample_{len(entries)}'
        (folder / _SAMPLES).mkdir(exist_ok=True)
        with open(folder / name, 'wb') as file:
            pickle.dump(keywords, file)
        entries.append({'sample': name, 'token_nums': counts[-1]})
    with open(folder / DATASET, 'w', encoding='utf-8') as file:
        json.dump(entries, file, ensure_ascii=False)
    return counts


if __name__ == '__main__':
    sys.exit(main())
