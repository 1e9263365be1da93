# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Second stage: teach the demo's language model dialogues and sequences of frames.

    make train-demo-model            (or: python tools/demo_model/train_dialogues.py --help)

Continues with the exported files. The vision encoder stays as it is, so that frames are encoded
once and only the small language model is trained. Single questions stay in the mix, so that they
are not forgotten.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
import ctypes
import multiprocessing
from pathlib import Path
import shutil
import sys
import tempfile
import time

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from data import pack, Packed  # noqa: E402
from dialogues import random_dialogue, random_opening  # noqa: E402
from export import export_language_model  # noqa: E402
from frames import Frames, Groups, HAPPENINGS, make_groups  # noqa: E402
from model import ChangeAid, IMAGE_TOKENS, LanguageModel  # noqa: E402
import numpy as np  # noqa: E402
from restore import extended, restore  # noqa: E402
from sequences import MAX_FRAMES  # noqa: E402
import torch  # noqa: E402
from torch import distributed  # noqa: E402
from torch.nn import functional  # noqa: E402
from train import rate_at  # noqa: E402
from vlm_npu_ros.demo.questions import random_question, SceneQuestion  # noqa: E402
from vlm_npu_ros.engine.backends.onnx.tokenizer import Tokenizer  # noqa: E402
from vocabulary import training_texts  # noqa: E402

# Share of the steps with groups of so many frames, and what is asked about a group in a step.
_SHARES = {1: 0.4, 2: 0.25, 3: 0.18, 4: 0.17}
_SINGLE_QUESTIONS = 5
_OPENINGS = 5
_TURNS = (2, 10)

_FORK = multiprocessing.get_context('fork')

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt in malloc.h

_Groups = dict[int, Groups]  # by the number of frames


def main() -> None:
    """Encode frames, train and export."""
    args = _arguments()
    encoder = args.start / 'vision_encoder.onnx'
    counts = {1: args.scenes} | dict.fromkeys(range(2, MAX_FRAMES + 1), args.sequences)
    groups = {n: make_groups(count, n, args.seed, encoder) for n, count in counts.items()}
    args.output.mkdir(parents=True, exist_ok=True)
    if args.output != args.start:
        shutil.copy(encoder, args.output)
    run(groups, args)


def run(groups: _Groups, args: argparse.Namespace) -> None:
    """Train in processes of one thread each: the tensors are too small for more."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = f'file://{folder}/meeting'
        workers = [
            _FORK.Process(target=_work, args=(rank, meeting, groups, args))
            for rank in range(args.workers)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if any(worker.exitcode for worker in workers):
        sys.exit('The training failed.')


def _work(rank: int, meeting: str, groups: _Groups, args: argparse.Namespace) -> None:
    """Train on a share of each batch; the first worker exports."""
    _keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    distributed.init_process_group(
        'gloo', init_method=meeting, rank=rank, world_size=args.workers
    )
    tokenizer = extended(Tokenizer.load(args.start / 'tokenizer.json'), training_texts())
    language = restore(args.start / 'language_model.onnx', tokenizer)
    aid = ChangeAid(len(HAPPENINGS))
    batches = _FORK.Queue(4)
    feed = (batches, {n: each.frames for n, each in groups.items()}, tokenizer, rank, args)
    feeder = _FORK.Process(target=_feed, args=feed, daemon=True)
    feeder.start()
    try:
        for step in _train(language, aid, groups, batches, args):
            if rank == 0 and (step % 250 == 0 or step == args.steps):
                export_language_model(language, tokenizer, args.output)
                language.train()
    finally:
        feeder.terminate()


def _arguments() -> argparse.Namespace:
    folder = REPOSITORY / 'resource' / 'demo_model'
    parser = argparse.ArgumentParser(description='Teach the demo model dialogues and sequences.')
    add = parser.add_argument
    add('--scenes', type=int, default=5000, help='single frames')
    add('--sequences', type=int, default=2500, help='sequences of 2, of 3 and of 4 frames each')
    add('--steps', type=int, default=4000)
    add('--batch', type=int, default=24, help='groups of frames a step')
    add('--rate', type=float, default=1.2e-3, help='peak learning rate')
    add('--seed', type=int, default=31)
    add('--workers', type=int, default=2, help='processes that share a batch')
    add('--start', type=Path, default=folder, help='folder of the files to go on from')
    add('--output', type=Path, default=folder)
    return parser.parse_args()


def _keep_memory() -> None:
    """Let the C library keep freed memory: getting it again can take most of the time."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, 'mallopt'):  # not glibc
        return
    libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(_TOP_PAD, 2**28)
    libc.mallopt(_MMAP_THRESHOLD, 2**30)


def _train(
    language: LanguageModel,
    aid: ChangeAid,
    groups: _Groups,
    batches: multiprocessing.Queue[tuple[int, np.ndarray, Packed]],
    args: argparse.Namespace,
) -> Iterator[int]:
    """Yield the number of steps after each."""
    parameters = [*language.parameters(), *aid.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.02
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate_at(s, args.steps))
    started = time.monotonic()
    for step in range(args.steps):
        count, rows, packed = batches.get()
        embedding = torch.from_numpy(groups[count].embeddings[rows]).float()
        tokens, labels, positions, group = (torch.from_numpy(array) for array in packed)
        here = labels >= 0
        with torch.autocast('cpu', torch.bfloat16):
            hidden, seen = language.train_forward(tokens, embedding, positions, group)
            logits = language.head(hidden[here])
            aid_loss = aid.loss(seen, torch.from_numpy(groups[count].targets[rows]))
        loss = functional.cross_entropy(logits.float(), labels[here])
        _update(optimizer, loss + 0.3 * aid_loss, parameters)
        schedule.step()
        if step % 50 == 0 and distributed.get_rank() == 0:
            right = (logits.argmax(-1) == labels[here]).float().mean()
            print(
                f'step {step} frames {count} loss {loss.item():.4f} tokens right {right:.4f} aid '
                f'{aid_loss.item():.4f} {time.monotonic() - started:.0f} s',
                flush=True,
            )
        yield step + 1


def _update(
    optimizer: torch.optim.Optimizer, loss: torch.Tensor, parameters: list[torch.nn.Parameter]
) -> None:
    """Do a step with the mean of the workers' gradients."""
    optimizer.zero_grad()
    loss.backward()
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(total)
    parts = (total / distributed.get_world_size()).split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def _feed(
    batches: multiprocessing.Queue[tuple[int, np.ndarray, Packed]],
    groups: dict[int, list[Frames]],
    tokenizer: Tokenizer,
    rank: int,
    args: argparse.Namespace,
) -> None:
    """Make batches beside the training: the number of frames, which groups, what is asked."""
    counts = np.random.default_rng(args.seed + 1)  # the same for all workers
    rng = np.random.default_rng((args.seed + 2, rank))
    while True:
        count = int(counts.choice(list(_SHARES), p=list(_SHARES.values())))
        rows = rng.integers(len(groups[count]), size=args.batch // args.workers)
        asked = [_asked(groups[count][i], rng) for i in rows]
        batches.put((count, rows, pack(asked, tokenizer, count * IMAGE_TOKENS)))


def _asked(frames: Frames, rng: np.random.Generator) -> Sequence[Sequence[SceneQuestion]]:
    """Draw questions about one group of frames, single ones first and then a dialogue."""
    if len(frames) == 1:
        singles = [random_question(frames[0], rng) for _ in range(_SINGLE_QUESTIONS)]
    else:
        singles = [random_opening(frames, rng) for _ in range(_OPENINGS)]
    turns = int(rng.integers(_TURNS[0], _TURNS[1] + 1))
    return [*([question] for question in singles), random_dialogue(frames, rng, turns)]


if __name__ == '__main__':
    main()
