# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Compare probabilities of choices on the simulated NPU with those of the backend onnx.

    make eval-npu                  (or: python tools/demo_model/evaluate_npu.py --help)

The same model answers the same questions in each way. Exit code 1 if a confidence differs by more
than the bar or is missing, or typed answers take twice as long as without probabilities.
"""

from __future__ import annotations

import argparse
from collections import Counter
import os
from pathlib import Path
import sys
import tempfile
import time

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / 'test')]

from evaluate_typed import _questions  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import track  # noqa: E402
from simulated import runtime, weights  # noqa: E402
from vlm_npu_ros.demo.scenes import random_scene, render  # noqa: E402
from vlm_npu_ros.engine.backends.rknpu.language_model import RkllmLanguageModel  # noqa: E402
from vlm_npu_ros.engine.backends.rknpu.library import RkllmLibrary  # noqa: E402
from vlm_npu_ros.engine.backends.rknpu.proof import picture  # noqa: E402
from vlm_npu_ros.engine.backends.rknpu.reuse import pictures  # noqa: E402
from vlm_npu_ros.engine.backends.rknpu.runtime import identify  # noqa: E402
from vlm_npu_ros.engine.backends.rknpu.scorer import Way  # noqa: E402
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings  # noqa: E402
from vlm_npu_ros.engine.generation import Cancellation  # noqa: E402
from vlm_npu_ros.engine.interface import Engine  # noqa: E402
from vlm_npu_ros.engine.loading import load_engine  # noqa: E402
from vlm_npu_ros.engine.local import LocalEngine  # noqa: E402
from vlm_npu_ros.engine.model_files.lm_head import LmHead  # noqa: E402
from vlm_npu_ros.engine.models import load_profile  # noqa: E402
from vlm_npu_ros.engine.settings import EngineSettings  # noqa: E402
from vlm_npu_ros.engine.types import GenerationRequest, Sampling, Verdict  # noqa: E402

DIFFERENCE_BAR, COST_BAR = 0.02, 2.0
# What the runtime is asked to do wrong, so that each way is the first that works.
WAYS = {
    'answer': (Way.ANSWER, {}),
    'logits': (Way.LOGITS, {'SIMRKLLM_LOGITS_ONCE': '1'}),
    'hidden': (Way.HIDDEN, {'SIMRKLLM_LOGITS_FAIL': '1'}),
}


def main() -> int:
    """Ask, compare, print a table for each way."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    add = parser.add_argument
    add('--scenes', type=int, default=200, help='scenes, each with a question of each kind')
    add('--seed', type=int, default=3_000_001, help='of scenes and questions')
    add('--version', default='1.2.3', choices=runtime.VERSIONS, help='of the runtime')
    add('--read-ahead', action='store_true', help='the picture, before each question')
    add('--ways', nargs='*', default=[*WAYS], choices=WAYS)
    args = parser.parse_args()
    reference = load_engine(EngineSettings(threads=1))
    with tempfile.TemporaryDirectory() as folder:
        os.environ['XDG_CACHE_HOME'] = folder
        path = weights.write_model(Path(folder) / 'demo_rk3588.rkllm')
        weights.write_head(path)
        library = RkllmLibrary(identify(runtime.build(args.version, Path(folder))))
        return max([_compare(reference, library, path, name, args) for name in args.ways])


def _asked(engine: Engine, request: GenerationRequest) -> tuple[Verdict, float]:
    started = time.perf_counter()
    *_, last = engine.generate(request)
    return last.verdict, time.perf_counter() - started


def _compare(
    reference: LocalEngine, library: RkllmLibrary, path: Path, name: str, args: argparse.Namespace
) -> int:
    way, wrong = WAYS[name]
    os.environ.update(wrong)
    profile = load_profile(str(REPOSITORY / 'test' / 'simulated' / 'demo_rknpu.yaml'))
    model = RkllmLanguageModel(
        library, path, profile, context=512, image_size=128, sampling=Sampling(),
        settings=RknpuSettings(base_domain_id=1, cpu_mask=0xF0),
    )
    if args.read_ahead:
        model.prove_reuse(*map(reference.encode, pictures()), print)
    model.prove(reference.encode(picture()), LmHead.load(path), print)
    assert model.scorer.way is way, model.probabilities
    npu = LocalEngine(reference._encoder, model)
    asked, missing, largest = Counter[str](), Counter[str](), Counter[str]()
    seconds = dict.fromkeys((way, Way.OFF), 0.0)
    for index in track(range(args.scenes), name, console=Console(stderr=True)):
        rng = np.random.default_rng((args.seed, index))
        scene = random_scene(rng)
        image = reference.encode(render(scene, 640, 480))
        for typed in _questions(scene, rng):
            kind = typed.question.kind
            request = GenerationRequest(typed.question.text, (image,), 32, choices=typed.choices)
            wanted, _ = _asked(reference, request)
            for used in seconds:
                model.scorer.way = used
                if args.read_ahead:
                    model.prepare((image,), Cancellation())
                found, taken = _asked(npu, request)
                seconds[used] += taken
                if used is way:
                    _count(kind, wanted, found, asked, missing, largest)
    model.close()
    for variable in wrong:
        del os.environ[variable]
    cost = seconds[way] / seconds[Way.OFF]
    print(f'\n{way.value}: {cost:.2f} times as long as without (bar {COST_BAR})\n')
    print('| kind | with a confidence | not here | largest difference |')
    print('| --- | --: | --: | --: |')
    for kind in asked:
        print(f'| {kind} | {asked[kind]} | {missing[kind]} | {largest[kind]:.4f} |')
    print(f'| all | {asked.total()} | {missing.total()} | {max(largest.values()):.4f} |')
    differs = missing.total() > 0 or max(largest.values()) > DIFFERENCE_BAR
    return int(cost >= COST_BAR or differs)


def _count(
    kind: str, wanted: Verdict, found: Verdict, asked: Counter[str], missing: Counter[str],
    largest: Counter[str],
) -> None:
    """Count a question for whose answer the embedded model has a probability."""
    if wanted.probability is None:
        return
    asked[kind] += 1
    missing[kind] += found.probability is None
    if found.probability is not None:
        difference = abs(found.probability - wanted.probability)
        largest[kind] = max(largest[kind], difference)  # type: ignore[assignment]


if __name__ == '__main__':
    sys.exit(main())
