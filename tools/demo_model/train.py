# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Train the demo model on synthetic scenes and export it to resource/demo_model/.

    make train-demo-model            (or: python tools/demo_model/train.py --help)
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import math
from pathlib import Path
import queue
import sys
import threading
import time

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from data import make_pictures, pack  # noqa: E402
from export import export  # noqa: E402
from model import Aid, IMAGE_TOKENS, LanguageModel, VisionEncoder  # noqa: E402
import numpy as np  # noqa: E402
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeRemainingColumn  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional  # noqa: E402
from vlm_npu_ros.demo.questions import random_question  # noqa: E402
from vlm_npu_ros.demo.scenes import COLOURS, SHAPES  # noqa: E402
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer  # noqa: E402
from vocabulary import tokenizer_of, training_texts  # noqa: E402


def main() -> None:
    """Train and export."""
    args = _arguments()
    torch.manual_seed(args.seed)
    scenes, pictures, targets = make_pictures(args.scenes, args.seed)
    tokenizer = tokenizer_of(training_texts())
    encoder = VisionEncoder().to(memory_format=torch.channels_last)
    language = LanguageModel(len(tokenizer), tokenizer.special['<image>'])
    aid = Aid(len(SHAPES), len(COLOURS))
    modules = torch.nn.ModuleDict({'encoder': encoder, 'language': language, 'aid': aid})
    if args.resume:
        modules.load_state_dict(torch.load(args.checkpoint, weights_only=True))
    pretrain_steps = 0 if args.resume else args.aid_steps
    _train_aid(encoder, aid, pictures, targets, pretrain_steps, args)
    _train_jointly(modules, scenes, pictures, targets, tokenizer, args)
    torch.save(modules.state_dict(), args.checkpoint)
    export(encoder, language, tokenizer, args.output)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train the demo model (CPU).')
    add = parser.add_argument
    add('--scenes', type=int, default=64000, help='pictures to render')
    add('--aid-steps', type=int, default=800, help='steps on object detection alone')
    add('--steps', type=int, default=3600, help='steps on questions')
    add('--batch', type=int, default=48, help='pictures a step')
    add('--questions', type=int, default=8, help='questions a picture and step')
    add('--rate', type=float, default=1.5e-3, help='peak learning rate')
    add('--seed', type=int, default=20)
    add('--checkpoint', type=Path, default=REPOSITORY / '.demo_model.pt')
    add('--resume', action='store_true', help='go on from the checkpoint')
    add('--output', type=Path, default=REPOSITORY / 'resource' / 'demo_model')
    return parser.parse_args()


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        '[progress.description]{task.description}',
        TextColumn('{task.completed}/{task.total} {task.fields[figures]}'),
        TimeRemainingColumn(),
        auto_refresh=sys.stdout.isatty(),
    )


def _augmented(pictures: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Vary the exposure of a copy."""
    gain = rng.uniform(0.9, 1.1, (len(pictures), 1, 1, 1)).astype(np.float32)
    return torch.from_numpy((pictures * gain).clip(0, 255).astype(np.uint8))


def _train_aid(
    encoder: VisionEncoder,
    aid: Aid,
    pictures: np.ndarray,
    targets: np.ndarray,
    steps: int,
    args: argparse.Namespace,
) -> None:
    rng = np.random.default_rng(args.seed + 1)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *aid.parameters()], lr=2e-3)
    with _progress() as progress:
        task = progress.add_task('Seeing', total=steps, figures='')
        for step in range(steps):
            rows = rng.integers(len(pictures), size=args.batch)
            with torch.autocast('cpu', torch.bfloat16):
                embedding = encoder(_augmented(pictures[rows], rng))
            loss = aid.loss(embedding.float(), torch.from_numpy(targets[rows]))
            update(optimizer, loss)
            progress.update(task, advance=1, figures=f'loss {loss.item():.3f}')
            if step % 100 == 0:
                print(f'aid {step} loss {loss.item():.4f}', flush=True)


def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Do a step of the optimizer, with gradients of a length of 1 at most."""
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g['params']], 1.0)
    optimizer.step()


def _train_jointly(
    modules: torch.nn.ModuleDict,
    scenes: Sequence,
    pictures: np.ndarray,
    targets: np.ndarray,
    tokenizer: Tokenizer,
    args: argparse.Namespace,
) -> None:
    encoder, language, aid = modules['encoder'], modules['language'], modules['aid']
    optimizer = torch.optim.AdamW(
        modules.parameters(), lr=args.rate, betas=(0.9, 0.98), weight_decay=0.02
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate_at(s, args.steps))
    batches: queue.Queue = queue.Queue(4)
    threading.Thread(target=_feed, args=(batches, scenes, tokenizer, args), daemon=True).start()
    started = time.monotonic()
    with _progress() as progress:
        task = progress.add_task('Answering', total=args.steps, figures='')
        for step in range(args.steps):
            rows, packed, rng = batches.get()
            tokens, labels, positions, group = (torch.from_numpy(array) for array in packed)
            here = labels >= 0
            with torch.autocast('cpu', torch.bfloat16):
                embedding = encoder(_augmented(pictures[rows], rng))
                hidden, _ = language.train_forward(tokens, embedding, positions, group)
                logits = language.head(hidden[here])
            wanted = labels[here]
            answer_loss = functional.cross_entropy(logits.float(), wanted)
            loss = answer_loss + 0.1 * aid.loss(embedding.float(), torch.from_numpy(targets[rows]))
            update(optimizer, loss)
            schedule.step()
            progress.update(task, advance=1, figures=f'loss {answer_loss.item():.4f}')
            if step % 50 == 0:
                right = (logits.argmax(-1) == wanted).float().mean()
                print(
                    f'step {step} loss {answer_loss.item():.4f} tokens right {right:.4f} '
                    f'{time.monotonic() - started:.0f} s',
                    flush=True,
                )
            if step % 500 == 499:
                torch.save(modules.state_dict(), args.checkpoint)


def rate_at(step: int, steps: int) -> float:
    """Share of the peak rate: short warm-up, constant, cosine over the last half."""
    decay = max(0.0, 2 * step / steps - 1)
    return min((step + 1) / 200, 0.005 + 0.995 * (0.5 + 0.5 * math.cos(math.pi * decay)))


def _feed(
    batches: queue.Queue, scenes: Sequence, tokenizer: Tokenizer, args: argparse.Namespace
) -> None:
    """Make batches beside the training."""
    rng = np.random.default_rng(args.seed + 2)
    while True:
        rows = rng.integers(len(scenes), size=args.batch)
        asked = [
            [[random_question(scenes[i], rng)] for _ in range(args.questions)] for i in rows
        ]
        packed = pack(asked, tokenizer, IMAGE_TOKENS)
        batches.put((rows, packed, np.random.default_rng(rng.integers(2**32))))


if __name__ == '__main__':
    main()
