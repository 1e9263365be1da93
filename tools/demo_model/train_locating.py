# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Third stage: teach a copy of the demo's language model to write where something is.

    make train-demo-model            (or: python tools/demo_model/train_locating.py --help)

Continues with the exported files and writes `locating_model.onnx` and its tokenizer beside them,
which do not change: what the demo model says otherwise stays what it is. The vision encoder stays
as it is, too, so that pictures are encoded once. An adapter learns first to tell boxes from single
image tokens, then the language model learns whose box is asked for, and to write it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import multiprocessing
from pathlib import Path
import sys
import time

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from data import pack, Packed  # noqa: E402
from export import export_graph  # noqa: E402
from frames import centre_token, Groups, make_groups  # noqa: E402
from locating import BINS, locating_texts, random_place_question, square_box  # noqa: E402
from model import Adapter, BoxAid, DIM, IMAGE_TOKENS, LanguageModel, waves  # noqa: E402
import numpy as np  # noqa: E402
from restore import extended, restore  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional  # noqa: E402
from train import rate_at, update  # noqa: E402
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer  # noqa: E402
from vocabulary import save  # noqa: E402

_QUESTIONS = 8  # a picture and step
_TOKENS = 256  # with the centre of an object and without one, each so many a step
_BLUR = 0.8  # bins; one beside the right one is nearly right

_FORK = multiprocessing.get_context('fork')
_Batches = multiprocessing.Queue


def main() -> None:
    """Encode pictures, train and export."""
    args = _arguments()
    pictures = make_groups(args.scenes, 1, args.seed, args.folder / 'vision_encoder.onnx')
    run(pictures, args)


def run(pictures: Groups, args: argparse.Namespace) -> None:
    """Train on one thread, because the tensors are too small for more."""
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    words = extended(Tokenizer.load(args.folder / 'tokenizer.json'), locating_texts())
    tokenizer = Tokenizer([*words.pieces, *BINS])
    start = args.output / 'locating_model.onnx' if args.resume else (
        args.folder / 'language_model.onnx')
    language = restore(start, tokenizer)
    if not args.resume:
        language.adapter = _trained_adapter(pictures, args)
        _write_bins(language, [tokenizer.encode(text)[0] for text in BINS])
    batches: _Batches[tuple[np.ndarray, Packed]] = _FORK.Queue(4)
    feeder = _FORK.Process(target=_feed, args=(batches, pictures, tokenizer, args), daemon=True)
    feeder.start()
    try:
        for step in _train(language, tokenizer, pictures.embeddings, batches, args):
            if step % 250 == 0 or step == args.steps:
                save(tokenizer, args.output / 'locating_tokenizer.json')
                export_graph(language, args.output / 'locating_model.onnx')
                language.train()
    finally:
        feeder.terminate()


def _trained_adapter(pictures: Groups, args: argparse.Namespace) -> Adapter:
    """Teach it to tell the box of the object from the image token at its centre."""
    adapter, aid = Adapter(), BoxAid()
    optimizer = torch.optim.AdamW([*adapter.parameters(), *aid.parameters()], lr=3e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: rate_at(s, args.adapter_steps))
    rng = np.random.default_rng(args.seed + 1)
    tokens, targets = pictures.embeddings.reshape(-1, DIM), _targets(pictures).reshape(-1, 4)
    centres = np.flatnonzero(targets[:, 0] >= 0)
    for step in range(args.adapter_steps):
        some = rng.choice(centres, _TOKENS), rng.integers(len(tokens), size=_TOKENS)
        rows = np.concatenate(some)
        image = torch.from_numpy(tokens[rows]).float()
        adapted = adapter(image)
        loss = aid.loss(adapted, torch.from_numpy(targets[rows]))
        added = (adapted - image).square().mean()  # little, or nothing else is recognised any more
        update(optimizer, loss + 0.1 * added)
        schedule.step()
        if step % 500 == 0:
            print(f'adapter {step} loss {loss.item():.4f}', flush=True)
    return adapter


def _write_bins(language: LanguageModel, bins: list[int]) -> None:
    """Let the rows of neighbouring bins be alike from the start: this saves most of the steps."""
    codes = waves(torch.arange(len(bins)).float())
    with torch.no_grad():
        for rows, size in (language.head.weight, 2.0), (language.embed.weight, 0.9):
            axes, _ = torch.linalg.qr(torch.randn(DIM, codes.shape[1]))
            rows[bins] = size * codes @ axes.T


def _arguments() -> argparse.Namespace:
    folder = REPOSITORY / 'resource' / 'demo_model'
    parser = argparse.ArgumentParser(description='Teach the demo model to say where things are.')
    add = parser.add_argument
    add('--scenes', type=int, default=12000, help='pictures')
    add('--adapter-steps', type=int, default=6000, help='steps on image tokens alone')
    add('--steps', type=int, default=6000, help='steps on questions')
    add('--batch', type=int, default=24, help='pictures a step')
    add('--rate', type=float, default=1e-3, help='peak learning rate')
    add('--seed', type=int, default=41)
    add('--resume', action='store_true', help='go on from the model in the output folder')
    add('--folder', type=Path, default=folder, help='of the files to go on from')
    add('--output', type=Path, default=folder)
    return parser.parse_args()


def _train(
    language: LanguageModel,
    tokenizer: Tokenizer,
    embeddings: np.ndarray,
    batches: _Batches[tuple[np.ndarray, Packed]],
    args: argparse.Namespace,
) -> Iterator[int]:
    """Yield the number of steps after each."""
    language.adapter.requires_grad_(False)
    bins = [tokenizer.encode(text)[0] for text in BINS]
    optimizer = torch.optim.AdamW(
        [p for p in language.parameters() if p.requires_grad],
        lr=args.rate, betas=(0.9, 0.98), weight_decay=0.02,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate_at(s, args.steps))
    wanted = _blurred(len(tokenizer), bins)
    started = time.monotonic()
    for step in range(args.steps):
        rows, packed = batches.get()
        embedding = torch.from_numpy(embeddings[rows]).float()
        tokens, labels, positions, group = (torch.from_numpy(array) for array in packed)
        here = labels >= 0
        hidden, _ = language.train_forward(tokens, embedding, positions, group)
        logits = language.head(hidden[here])
        loss = functional.cross_entropy(logits, wanted[labels[here]])
        update(optimizer, loss)
        schedule.step()
        if step % 50 == 0:
            right = (logits.argmax(-1) == labels[here]).float().mean()
            print(
                f'step {step} loss {loss.item():.4f} tokens right {right:.4f} '
                f'{time.monotonic() - started:.0f} s',
                flush=True,
            )
        yield step + 1


def _blurred(vocabulary: int, bins: list[int]) -> torch.Tensor:
    """Return for each token as label the probabilities to learn, (vocabulary, vocabulary)."""
    wanted = torch.eye(vocabulary)
    at = torch.arange(len(bins))
    near = torch.exp(-((at[:, None] - at[None, :]) / _BLUR) ** 2 / 2)
    where = torch.tensor(bins)
    wanted[where[:, None], where[None, :]] = near / near.sum(-1, keepdim=True)
    return wanted


def _targets(pictures: Groups) -> np.ndarray:
    """Mark the box of each object at the image token of its centre, see `BoxAid.loss`."""
    targets = np.full((len(pictures.frames), IMAGE_TOKENS, 4), -1, np.float32)
    for target, (scene,), aspect in zip(
        targets, pictures.frames, pictures.aspects, strict=True
    ):
        for thing in sorted(scene.objects, key=lambda o: o.scale):
            target[centre_token(scene, thing, aspect)] = square_box(scene, thing, aspect)
    return targets


def _feed(
    batches: _Batches[tuple[np.ndarray, Packed]],
    pictures: Groups,
    tokenizer: Tokenizer,
    args: argparse.Namespace,
) -> None:
    """Make batches beside the training: which pictures, and what is asked about them."""
    rng = np.random.default_rng((args.seed + 2, args.resume))
    while True:
        rows = rng.integers(len(pictures.frames), size=args.batch)
        asked = [
            [
                [random_place_question(pictures.frames[i][0], pictures.aspects[i], rng)]
                for _ in range(_QUESTIONS)
            ]
            for i in rows
        ]
        batches.put((rows, pack(asked, tokenizer, IMAGE_TOKENS)))


if __name__ == '__main__':
    main()
