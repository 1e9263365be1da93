# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Ask without pause for minutes while the engine crashes again and again, and measure.

    make soak MINUTES=10             (or: tools/with_ros python3 tools/robustness/soak.py --help)

The real node runs as a process, over DDS, on a simulated board, with a camera of 1920x1080 at
30 Hz and four clients that ask, cancel and lose patience, as real ones do. Exit status 1 if a bar
is missed: no answer is lost, swapped or out of order, open files and shared memory do not grow,
and in five minutes or more memory does not either.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
import itertools
import os
from pathlib import Path
import signal
from statistics import median
import sys
import threading
import time

from asking import Ask, Client, NodeError, Overseer, WAYS
from lifecycle_msgs.msg import Transition
import numpy as np
from pictures import Oracle, QUESTIONS
from processes import child_of, ChildWatch, Sample, sample
import psutil
from stand import Faults, prepare, Stand
from table import save, text
from vlm_npu_ros.demo.children import ChildDiedError, Children

SIZE, RATE = (1920, 1080), 30.0
SCENE_PERIOD = 1.0  # seconds
CLIENTS = 4  # half of them by action
WATCHDOG = 0.1  # hangs are noticed after 3 s of encoding, 1 s of writing
# Of the simulated runtime, so that an answer takes about 0.4 s.
RATES = {'SIMRKLLM_PREFILL_RATE': 500, 'SIMRKLLM_DECODE_RATE': 80}
CRASHES: dict[str, dict[str, int]] = {
    'SIGSEGV in the encoder': {'SIMRKNN_SEGV': 1},
    'SIGSEGV while it reads': {'SIMRKLLM_PREFILL_SEGV': 1},
    'SIGSEGV at a token': {'SIMRKLLM_SEGV_AT': 2},
    'encoder hangs': {'SIMRKNN_HANG': 1},
    'hangs while it reads': {'SIMRKLLM_PREFILL_HANG': 1},
    'hangs at a token': {'SIMRKLLM_HANG_AT': 2},
    'killed with -9': {},
}
GROWTH_BAR = 0.03
_JUDGED = 300.0  # seconds of a run whose memory is judged: frames on their way come and go
_WHEN = ('at start', 'in the middle', 'at the end')
_PATIENCE = 20.0  # seconds that a client waits that does not lose patience
_LOST = 15.0  # seconds after its timeout at which a question without an end is lost
_CRASHED = 20.0  # seconds in which a crash must have come
_OUT_OF_TIME = ('NO_FRAME', 'STALE_FRAME', 'TIMEOUT')
_LOOK = 0.05  # seconds between looks
_SAMPLES = 200  # of each run
_WARM = 0.25  # share of the run, a minute at most
_WINDOW = 0.2  # of the rest


class Asker:
    """
    A client that asks one question after the other until `stop` is set.

    Some of its questions have a short timeout, and some that are actions are cancelled.
    """

    def __init__(self, way: str, seed: int, stop: threading.Event) -> None:
        self.asks: list[Ask] = []
        self._way, self._stop = way, stop
        self._random = np.random.default_rng(seed)
        self._name = f'client_{seed}'

    def run(self) -> None:
        """Ask."""
        with Client(self._name) as client:
            client.find_node()
            while not self._stop.wait(self._random.uniform(0, 0.3)):
                self.asks.append(self._ask(client))

    def _ask(self, client: Client) -> Ask:
        draw = self._random.uniform
        timeout = draw(0.05, 1.0) if draw() < 0.15 else _PATIENCE
        not_before = client.node.get_clock().now().to_msg() if draw() < 0.5 else None
        question = str(self._random.choice(QUESTIONS))
        ask = client.send(self._way, question, timeout=timeout, not_before=not_before)
        if self._way == 'action' and draw() < 0.15:
            client.wait(lambda: ask.done, draw(0, 1.0))
            ask.cancel()
        client.wait(lambda: ask.done, timeout + _LOST)
        return ask


class Saboteur:
    """
    Lets the engine crash every `period` seconds until `stop` is set, in all ways in random order.

    done: which crashes there were. failed: those that did not happen.
    """

    def __init__(
        self, faults: Faults, node: psutil.Process, watch: ChildWatch, period: float,
        stop: threading.Event,
    ) -> None:
        self.done: list[str] = []
        self.failed: list[str] = []
        self._faults, self._node, self._watch = faults, node, watch
        self._period, self._stop = period, stop

    def run(self) -> None:
        """Crash."""
        kinds = np.random.default_rng(1).permutation(list(CRASHES))
        for kind in itertools.cycle(map(str, kinds)):
            if self._stop.wait(self._period):
                return
            (self.done if self._crash(kind) else self.failed).append(kind)

    def _crash(self, kind: str) -> bool:
        before = len(self._watch.deaths)
        self._faults.write(CRASHES[kind], **RATES)
        child = child_of(self._node)
        if not CRASHES[kind] and child:
            os.kill(child, signal.SIGKILL)
        deadline = time.monotonic() + _CRASHED
        while len(self._watch.deaths) == before and time.monotonic() < deadline:
            time.sleep(_LOOK)
        self._faults.write(**RATES)
        return len(self._watch.deaths) > before


@dataclass
class Run:
    """What was seen; times are time.monotonic()."""

    seconds: float
    asks: list[Ask]
    verdicts: list[str]  # of the asks
    reordered: int
    deaths: list[float]
    crashes: list[str]
    failed: list[str]
    restarts: int | None
    frame_rates: list[float]
    samples: list[Sample]

    def rows(self) -> list[dict[str, str]]:
        """Tabulate what there was; each bar is 0, if there is one."""
        verdicts = Counter(self.verdicts)
        back = [seconds for death in self.deaths if (seconds := self._back(death)) is not None]
        misled = sum(verdicts.values()) - verdicts['right'] - verdicts['lost']
        codes = Counter(ask.ended_by for ask in self.asks if ask.done)
        own = Counter(ask.ended_by for ask in self.asks if ask.done and _is_own_doing(ask))
        return [
            _row('minutes', f'{self.seconds / 60:.1f}'),
            _row('frames that the node took, a second', f'{median(self.frame_rates or [0]):.1f}'),
            _row('questions', len(self.asks)),
            _row('answered', codes['answer']),
            _row('ended by BACKEND_CRASHED', codes['BACKEND_CRASHED']),
            *(_row(f'given little time or cancelled: {code}', own[code]) for code in sorted(own)),
            _row('ended by another error', _others(codes, own), '0'),
            _row('lost', verdicts['lost'], '0'),
            _row('wrong, swapped or about another picture', misled, '0'),
            _row('pieces lost or out of order', self.reordered, '0'),
            _row('crashes', len(self.crashes)),
            _row('crashes that did not come', len(self.failed), '0'),
            _row('restarts', self.restarts),
            _row('recovery, median', f'{median(back):.2f} s' if back else 'none'),
            _row('recovery, longest', f'{max(back):.2f} s' if back else 'none'),
            _row('crashes without a right answer after', len(self.deaths) - len(back), '0'),
        ]

    def _back(self, death: float) -> float | None:
        """Measure the seconds from a death of the child to the next right answer."""
        ends = [
            ask.ended for ask, verdict in zip(self.asks, self.verdicts, strict=True)
            if ask.ended and ask.ended > death and ask.ended_by == 'answer' and verdict == 'right'
        ]
        return min(ends) - death if ends else None

    def levels(self) -> list[dict[str, str]]:
        """Tabulate what must not grow: medians of three windows."""
        first, last = self.samples[0].time, self.samples[-1].time
        warm = first + min(60.0, _WARM * (last - first))
        width = _WINDOW * (last - warm)
        windows = [
            [s for s in self.samples if start <= s.time <= start + width]
            for start in (warm, (warm + last - width) / 2, last - width)
        ]
        rows = []
        for what, value, bar in _LEVELS:
            medians = [median(map(value, window)) for window in windows]
            start, _, end = medians
            growth = end / start - 1 if start else float(end > 0)
            if bar and self.seconds < _JUDGED:
                bar = None
            rows.append({
                'of the node': what,
                **{name: f'{m:.1f}' for name, m in zip(_WHEN, medians, strict=True)},
                'growth': f'{growth:+.1%}',
                'bar': '' if bar is None else f'{bar:.0%}',
                'verdict': '' if bar is None else 'ok' if growth <= bar else 'MISSED',
            })
        return rows


# What is measured, and how much it may grow.
_LEVELS: list[tuple[str, Callable[[Sample], float], float | None]] = [
    ('memory with child, MiB', lambda s: (s.node + s.child) / 2**20, GROWTH_BAR),
    ('memory, MiB', lambda s: s.node / 2**20, None),
    ('open files', lambda s: s.files, 0.0),
    ('segments of shared memory', lambda s: s.segments, 0.0),
    ('threads', lambda s: s.threads, None),
    ('zombies', lambda s: s.zombies, 0.0),
]


def _is_own_doing(ask: Ask) -> bool:
    """Tell whether a question has ended by what its client did."""
    if ask.ended_by == 'CANCELLED':
        return ask.cancelled
    return ask.timeout < _PATIENCE and ask.ended_by in _OUT_OF_TIME


def _others(codes: Counter[str], own: Counter[str]) -> str:
    """List what ended questions for no good reason; '0' is nothing."""
    others = codes - own - Counter({code: codes[code] for code in ('answer', 'BACKEND_CRASHED')})
    return ', '.join(f'{count} {code}' for code, count in sorted(others.items())) or '0'


def _row(what: str, value: object, bar: str = '') -> dict[str, str]:
    return {
        'figure': what, 'value': str(value), 'bar': bar,
        'verdict': '' if not bar else 'ok' if str(value) == bar else 'MISSED',
    }


@contextmanager
def soaked(stand: Stand, oracle: Oracle) -> Iterator[tuple[psutil.Process, Overseer, Children]]:
    """Run camera and node; yield when the node is active."""
    with Children(stand.environment) as children, Overseer() as overseer:
        children.start('camera', 'camera', {
            'scenes': oracle.scenes, 'width': SIZE[0], 'height': SIZE[1], 'rate': RATE,
            'period': SCENE_PERIOD,
        })
        node = psutil.Process(children.start(
            'node', 'vlm_npu_ros.node.vlm_node', {**stand.parameters, 'watchdog': WATCHDOG}
        ))
        try:
            overseer.change_state(Transition.TRANSITION_CONFIGURE)
            overseer.change_state(Transition.TRANSITION_ACTIVATE)
        except NodeError as error:
            raise NodeError(f'{error}. {children.log_tail("node")}') from error
        yield node, overseer, children


def soak(seconds: float, crash_period: float) -> Run:
    """Ask for so long; raise NodeError if the node ends."""
    oracle = Oracle(*SIZE)
    with Stand() as stand, soaked(stand, oracle) as (node, overseer, children):
        stand.faults.write(**RATES)
        calm, stop, samples = threading.Event(), threading.Event(), []
        watch = ChildWatch(node)
        askers = [Asker(WAYS[i % len(WAYS)], i, stop) for i in range(CLIENTS)]
        saboteur = Saboteur(stand.faults, node, watch, crash_period, calm)
        started = time.monotonic()
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            running = [pool.submit(thing.run) for thing in (*askers, saboteur)]
            try:
                while time.monotonic() < started + seconds:
                    children.check()
                    samples.append(sample(node))
                    time.sleep(seconds / _SAMPLES)
                calm.set()
                running[-1].result()
                _wait_for_an_answer(askers, watch.deaths)
                children.check()
            except (ChildDiedError, OSError, psutil.Error) as error:
                raise NodeError(str(error)) from error
            finally:
                calm.set()
                stop.set()
        watch.close()
        for future in running:
            future.result()
        asks = [ask for asker in askers for ask in asker.asks]
        return Run(
            seconds=time.monotonic() - started,
            asks=asks,
            verdicts=[oracle.judge(ask) for ask in asks],
            reordered=sum(_is_out_of_order(ask, overseer) for ask in asks),
            deaths=watch.deaths,
            crashes=saboteur.done,
            failed=saboteur.failed,
            restarts=overseer.restarts(),
            frame_rates=overseer.frame_rates,
            samples=samples,
        )


def _wait_for_an_answer(askers: list[Asker], deaths: list[float]) -> None:
    """Wait until a question was answered after the last crash; not forever."""
    deadline = time.monotonic() + _CRASHED
    while time.monotonic() < deadline and not any(
        ask.ended and ask.ended > max(deaths, default=0.0) and ask.ended_by == 'answer'
        for asker in askers for ask in list(asker.asks)
    ):
        time.sleep(_LOOK)


def _is_out_of_order(ask: Ask, overseer: Overseer) -> bool:
    """Tell whether the pieces of an answer do not make it up, in their order."""
    if not (ask.done and ask.result.request_id):
        return False
    pieces = overseer.pieces.get(ask.result.request_id, [])
    return (
        [piece.sequence for piece in pieces] != list(range(len(pieces)))
        or ''.join(piece.delta for piece in pieces) != ask.result.answer
        or not pieces[-1].done
    )


def main() -> int:
    """Soak and print the tables."""
    options = _parse()
    prepare()
    try:
        run = soak(60 * options.minutes, options.crash_every)
    except NodeError as error:
        print(error, file=sys.stderr)
        return 1
    tables = [run.rows(), run.levels()]
    for rows in tables:
        print(text(rows, options.markdown), end='\n\n')
    save(options.json, {'figures': tables[0], 'levels': tables[1]})
    return int(any(row['verdict'] == 'MISSED' for rows in tables for row in rows))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='soak.py', description='Ask for minutes while the engine crashes, and measure.'
    )
    parser.add_argument('--minutes', type=float, default=10.0, help='how long (default: 10)')
    parser.add_argument(
        '--crash-every', type=float, default=60.0, metavar='SECONDS',
        help='time between crashes (default: 60)',
    )
    parser.add_argument('--markdown', action='store_true', help='print tables in Markdown')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
