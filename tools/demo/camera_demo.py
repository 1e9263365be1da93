# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Ask the demo model about synthetic scenes over ROS, and check its answers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
import importlib.util
from pathlib import Path
import sys
from typing import TYPE_CHECKING

from demo_answers import DemoAnswer, summary, verdict
from nodes import DemoFailedError, running
import numpy as np
from picture import draw, Exchange, Page, png
from scene_driver import SceneDriver
from vlm_npu_ros.demo.questions import KINDS, random_question, SceneQuestion
from vlm_npu_ros.demo.scenes import random_scene, Scene

if TYPE_CHECKING:
    from screen import DemoScreen

_QUESTIONS = 4  # about each scene


def main() -> int:
    """Run the demo; return 0 if all answers came over ROS and most of them are right."""
    options = _parse()
    if importlib.util.find_spec('rich') is None:
        sys.exit(f'The demo needs rich: {sys.executable} -m pip install rich')
    from screen import DemoScreen

    screen = DemoScreen()
    try:
        problem = Demo(options, screen).run()
    except KeyboardInterrupt:
        screen.say('\nStopped.')
        return 130
    except DemoFailedError as error:
        problem = str(error)
    except OSError as error:
        problem = f'the picture cannot be saved: {error}'
    if problem:
        screen.say(f'The demo failed: {problem}', 'red')
    return 1 if problem else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='demo',
        description='Ask the demo model about synthetic camera scenes, by service and by action.',
    )
    parser.add_argument(
        '--scenes', type=_at_least(1), default=3, help='scenes to ask about (default: 3)'
    )
    parser.add_argument(
        '--output', type=Path, default=Path('demo_output', 'demo.png'), metavar='PATH',
        help='PNG of the frames with questions and answers (default: demo_output/demo.png)',
    )
    parser.add_argument(
        '--seed', type=_at_least(0), default=1,
        help='of scenes and questions; 0 = others every time (default: 1)',
    )
    parser.add_argument(
        '--keep', action='store_true', help='leave the nodes running until Ctrl-C'
    )
    return parser.parse_args()


def _at_least(low: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < low:
            raise argparse.ArgumentTypeError(f'must be {low} or more')
        return int(text)

    return number


class Demo:
    """One run; everything it starts has ended when `run` returns or raises."""

    def __init__(self, options: argparse.Namespace, screen: DemoScreen) -> None:
        self._options = options
        self._screen = screen
        self._random = np.random.default_rng(options.seed or None)
        self._answers: list[DemoAnswer] = []
        self._pages: list[Page] = []

    def run(self) -> str:
        """
        Ask about all scenes; return what is wrong with the answers, or ''.

        Raises DemoFailedError, KeyboardInterrupt if it was stopped, OSError for the picture.
        """
        self._options.output.parent.mkdir(parents=True, exist_ok=True)
        with running(self._screen.say) as driver:
            with self._screen.step('Waiting for the camera', 'The camera delivers images'):
                driver.wait_for_camera()
            with self._screen.step('Loading the model', 'The vlm node is active'):
                driver.wait_for_vlm()
            for number in range(1, self._options.scenes + 1):
                self._ask_about_scene(driver, number)
            problem = self._conclude()
            if self._options.keep:
                self._screen.say('The nodes keep running. Ctrl-C ends them.')
                with suppress(KeyboardInterrupt):
                    driver.wait()
        return problem

    def _ask_about_scene(self, driver: SceneDriver, number: int) -> None:
        scene = _interesting_scene(self._random)
        description = random_question(scene, self._random, 'describe').answer
        truth = driver.show(scene)
        self._screen.scene(number, self._options.scenes, description)
        exchanges = []
        for question in _questions(scene, self._random):
            way = ('service', 'action')[len(self._answers) % 2]
            self._screen.question(way, question.text)
            answer = driver.ask(way, question, truth, self._screen.stream)
            self._answers.append(answer)
            exchanges.append(_exchange(answer))
            self._screen.answer(answer)
        self._pages.append(
            Page(driver.frame_of(truth), f'Scene {number}: {description}', tuple(exchanges))
        )

    def _conclude(self) -> str:
        """Show the table and save the picture; return what is wrong with the answers, or ''."""
        self._screen.table(self._answers)
        result = summary(self._answers)
        stats = self._answers[-1].result.stats
        subtitle = f'{result} Backend {stats["backend"]}, model {stats["model"]}.'
        self._options.output.write_bytes(png(draw('What do you see?', subtitle, self._pages)))
        self._screen.say(result)
        self._screen.say(f'Picture: {self._options.output.resolve()}')
        return verdict(self._answers)


def _interesting_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene with something to ask about."""
    while True:
        scene = random_scene(rng)
        if len(scene.objects) > 1:
            return scene


def _questions(scene: Scene, rng: np.random.Generator) -> list[SceneQuestion]:
    """Draw a description and other questions, phrased as the model was not trained on."""
    kinds = ['describe', *rng.permutation([kind for kind in KINDS if kind != 'describe'])]
    questions: list[SceneQuestion] = []
    for kind in kinds:
        try:
            questions.append(random_question(scene, rng, str(kind), held_out=True))
        except ValueError:  # no clear answer for this scene
            continue
        if len(questions) == _QUESTIONS:
            break
    return questions


def _exchange(answer: DemoAnswer) -> Exchange:
    return Exchange(
        way=answer.way,
        question=answer.question.text,
        answer=answer.result.text,
        expected=answer.question.answer,
        right=answer.right,
        note=answer.note,
    )


if __name__ == '__main__':
    sys.exit(main())
