# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Break everything that a robot's node depends on, one thing at a time, and see what happens.

    make faults                      (or: tools/with_ros python3 tools/robustness/faults.py --help)

The real node runs as a process, over DDS, on a simulated board: its engine is the simulated NPU
runtime of test/simulated, which crashes and hangs when it is told to. Every answer is compared
with the right one for its own picture. Exit status 1 if a bar is missed: the node lives, the
question that was hit ends with the right code, the next one is answered right within two seconds
and the time that loading takes, and no answer is lost or swapped. A busy machine makes it slower,
and misses no bar.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
import sys

from asking import NodeError, WAYS
from causes import Fault, FAULTS
from pictures import Oracle
from stand import prepare, Stand
from subject import Robot, SIZE
from table import save, text

RECOVERY_BAR = 2.0  # seconds, on top of the loading


@dataclass
class Outcome:
    """
    What a fault did to questions of one way.

    seconds: from the fault to the end of the last question that was hit.
    next_ended_by: as Ask.ended_by has it.
    recovery: from then, or from the last death of the child, to the next right answer.
    load: of that, what loading may take; 0 if the child did not die.
    deaths: of the child. restarts: as the diagnostics tell, if they do.
    """

    name: str
    way: str
    ended_by: dict[str, int]
    seconds: float | None
    next_is_right: bool
    next_ended_by: str
    recovery: float | None
    load: float
    lost: int
    swapped: int
    is_alive: bool
    deaths: int
    restarts: int | None
    missed: list[str] = field(default_factory=list)

    @classmethod
    def of_nothing(cls, name: str, way: str, robot: Robot) -> Outcome:
        """Tell of a fault that could not be brought about."""
        return cls(
            name=name, way=way, ended_by={}, seconds=None, next_is_right=False,
            next_ended_by='nothing', recovery=None, load=0.0, lost=0, swapped=0,
            is_alive=robot.is_alive, deaths=0, restarts=None, missed=['not tried'],
        )

    @property
    def row(self) -> dict[str, str]:
        """Format it as a row of the table."""
        ends = [f'{count} {end}' if sum(self.ended_by.values()) > 1 else end
                for end, count in self.ended_by.items()]
        return {
            'fault': FAULTS[self.name].title,
            'asked by': self.way,
            'ended by': ', '.join(ends) or 'nobody waits',
            'after, s': _figure(self.seconds),
            'next right': 'yes' if self.next_is_right else f'NO, {self.next_ended_by}',
            'recovery, s': _figure(self.recovery),
            'lost': str(self.lost),
            'swapped': str(self.swapped),
            'node': 'alive' if self.is_alive else 'DEAD',
            'restarts': _figure(self.restarts),
            'verdict': ', '.join(self.missed) or 'ok',
        }


def _figure(value: float | None) -> str:
    if value is None:
        return '-'
    return str(value) if isinstance(value, int) else f'{value:.2f}'


def examine(robot: Robot, name: str, way: str) -> Outcome:
    """Let a fault happen, ask once more and compare with the bars; raise NodeError."""
    fault, before = FAULTS[name], len(robot.watch.deaths)
    hit = fault.cause(robot, way)
    ends = [ask.ended for ask in hit.asks if ask.ended]
    following = robot.ask(way)
    robot.finish(following)
    whole = max([*ends, *([hit.over] if hit.over else [])], default=following.sent)
    verdicts = Counter(robot.judge(ask) for ask in (*hit.asks, following))
    next_is_right = robot.judge(following) == 'right' and following.ended_by == 'answer'
    deaths, recovery = robot.watch.deaths[before:], None
    if next_is_right and following.ended:
        recovery = following.ended - max(whole, *deaths, 0.0)
    known, robot.restarts = robot.restarts or 0, robot.overseer.restarts()
    outcome = Outcome(
        name=name,
        way=way,
        ended_by=dict(Counter(ask.ended_by for ask in hit.asks)),
        seconds=max(ends) - hit.struck if ends and hit.struck else None,
        next_is_right=next_is_right,
        next_ended_by=following.ended_by,
        recovery=recovery,
        load=robot.load if deaths else 0.0,
        lost=verdicts.pop('lost', 0),
        swapped=verdicts.total() - verdicts['right'],
        is_alive=robot.is_alive,
        deaths=len(deaths),
        restarts=None if robot.restarts is None else robot.restarts - known,
    )
    outcome.missed = list(_missed(fault, outcome))
    return outcome


def _missed(fault: Fault, outcome: Outcome) -> list[str]:
    """Yield the bars that were missed."""
    bars = {
        'dead': outcome.is_alive,
        'code': set(outcome.ended_by) <= fault.allowed
        and outcome.ended_by.get('answer', 0) >= fault.answers,
        'next': outcome.next_is_right,
        'slow': outcome.recovery is None or outcome.recovery < RECOVERY_BAR + outcome.load,
        'lost': not outcome.lost,
        'swapped': not outcome.swapped,
        'deaths': outcome.deaths == fault.deaths,
        'restarts': outcome.restarts == outcome.deaths,
    }
    return [bar for bar, is_met in bars.items() if not is_met]


def examine_all(names: list[str]) -> Iterator[Outcome]:
    """Yield the outcome of each fault and way."""
    oracle = Oracle(*SIZE)
    with Stand() as stand, ExitStack() as stack:
        robot, parameters = None, None
        for name in names:
            for way in WAYS:
                if robot is None or parameters != FAULTS[name].parameters:
                    stack.close()
                    parameters = FAULTS[name].parameters
                    robot = stack.enter_context(Robot(stand, oracle, parameters))
                try:
                    outcome = examine(robot, name, way)
                except NodeError as error:
                    print(error, file=sys.stderr)
                    outcome = Outcome.of_nothing(name, way, robot)
                yield outcome
                if outcome.missed:
                    print(robot.children.log_tail('node'), file=sys.stderr)
                    robot = None


def main() -> int:
    """Examine the faults and print the table."""
    options = _parse()
    prepare()
    names = options.only or [n for n, f in FAULTS.items() if f.is_quick or not options.quick]
    outcomes = []
    try:
        for outcome in examine_all(names):
            outcomes.append(outcome)
            verdict = outcome.row['verdict']
            print(f'{outcome.name} by {outcome.way}: {verdict}', file=sys.stderr, flush=True)
    except NodeError as error:
        print(error, file=sys.stderr)
        return 1
    print(text([outcome.row for outcome in outcomes], options.markdown))
    for load in sorted({outcome.load for outcome in outcomes} - {0.0}):
        print(f'\nAt the start, loading took {load:.2f} s: a recovery from the death of the child '
              f'may take {RECOVERY_BAR + load:.2f} s, another one {RECOVERY_BAR:.2f} s.')
    save(options.json, {'outcomes': [asdict(outcome) for outcome in outcomes]})
    return int(any(outcome.missed for outcome in outcomes))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='faults.py', description='Break what the node depends on, and see what happens.'
    )
    parser.add_argument(
        '--only', action='append', choices=FAULTS, metavar='NAME',
        help=f'examine this fault; may be given again: {", ".join(FAULTS)}',
    )
    parser.add_argument('--quick', action='store_true', help='examine four faults that matter')
    parser.add_argument('--markdown', action='store_true', help='print a table in Markdown')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write the figures there')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
