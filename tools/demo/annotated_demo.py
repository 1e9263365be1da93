# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Save a picture of `~/annotated`: where things are in a scene, and how far away."""

from __future__ import annotations

import argparse
from pathlib import Path
import sys

from nodes import DemoFailedError, running
import numpy as np
from vlm_npu_ros.demo.scenes import random_scene, Scene

_LEAST = 3  # things in the scene


def main() -> int:
    """Save the picture; return 0 if the model has found something."""
    parser = argparse.ArgumentParser(prog='demo-annotated', description=__doc__)
    parser.add_argument(
        '--output', type=Path, default=Path('demo_output', 'annotated.jpg'), metavar='PATH',
        help='JPEG to write (default: demo_output/annotated.jpg)',
    )
    parser.add_argument('--things', default='all objects', help='(default: all objects)')
    parser.add_argument('--seed', type=int, default=4, help='of the scene (default: 4)')
    options = parser.parse_args()
    scene = scene_of(options.seed)
    try:
        with running(print) as driver:
            driver.wait_for_camera()
            driver.wait_for_vlm()
            answer, picture = driver.locate(options.things, driver.show(scene))
    except KeyboardInterrupt:
        return 130
    except DemoFailedError as error:
        print(f'The demo failed: {error}', file=sys.stderr)
        return 1
    print(*(answer.places or [answer.error or 'nothing is seen']), sep='\n')
    if picture:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_bytes(picture)
        print(f'Picture: {options.output.resolve()}')
    return 0 if answer.places else 1


def scene_of(seed: int) -> Scene:
    """Draw a scene with several things."""
    rng = np.random.default_rng(seed)
    while True:
        scene = random_scene(rng)
        if len(scene.objects) >= _LEAST:
            return scene


if __name__ == '__main__':
    sys.exit(main())
