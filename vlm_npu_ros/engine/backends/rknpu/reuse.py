# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
What the runtime still holds of the last question, and the proof that this can be relied on.

From 1.2.1 on, a run reads from the first token on that the cache does not hold already: a second
question about a picture costs only itself. Other reports say that answers may then be about the
picture before (airockchip/rknn-llm #257, #278). So nothing is kept before it was proved on the
machine at hand, and every run is checked by the runtime's own count.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from vlm_npu_ros.engine.errors import BackendError
from vlm_npu_ros.engine.progress import Progress, Trial
from vlm_npu_ros.engine.types import ImageEmbedding, ReadAhead, same_images

_MOST_MISSES = 2  # in a row
_MOST_NOISE = 1  # answers that may differ, as 1.3.1 computes a little differently each time
_QUESTIONS = ('What do you see?', 'Which colour is it?', 'Is it on the left?')
_NOT_READ = 'the runtime has not read a picture that was new to it'
_NOT_COUNTED = 'the runtime does not count the tokens that it reads'
_TRIAL = Trial('a test picture, for reading ahead')

Images = tuple[ImageEmbedding, ...]
Ask = Callable[[str, ImageEmbedding], tuple[str, int]]


class Reuse:
    """
    Tells whether the next run may go on from the pictures of the last one.

    able: what the model says about reading ahead; it can from `prove` on, until a run shows that
    it cannot.
    """

    def __init__(self, why: str, dialogues_return: bool) -> None:
        self._return = dialogues_return
        self._images: Images = ()  # that the cache begins with
        self._misses = 0
        self.able = ReadAhead(why=why, dialogues_return=dialogues_return)

    def holds(self, images: Images) -> bool:
        """Tell whether the cache begins with these images; that was proved for one alone."""
        return self.able.possible and len(images) == 1 and same_images(self._images, images)

    def keep(self, images: Images) -> None:
        """Note that the cache begins with these images; () = nobody knows."""
        self._images = images

    def check(self, read: int, images: int, most: int) -> bool:
        """
        Judge by the runtime's count whether it has gone on from images that it held.

        read: tokens, as it says. images: those of the images. most: of all the rest, at most.
        """
        # Of a text that is longer than the images, the count tells nothing.
        is_miss = read == 0 or read > most and read >= images
        self._misses = self._misses + 1 if is_miss else 0
        if self._misses >= _MOST_MISSES:
            self.doubt(_NOT_COUNTED if read == 0 else
                       f'the runtime has read {read} tokens again that it held')
        return not is_miss

    def trust(self) -> None:
        """Rely on it."""
        self.able = ReadAhead(True, True, '', self._return)

    def doubt(self, why: str) -> None:
        """Rely on it no more."""
        self.able = ReadAhead(why=why, dialogues_return=self._return)
        self._images = ()


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Draw two pictures that nobody takes for each other, (128, 128, 3) uint8 RGB."""
    first, second = np.full((128, 128, 3), 150, np.uint8), np.full((128, 128, 3), 235, np.uint8)
    first[64:112, 8:56] = 200, 20, 20
    y, x = np.mgrid[:128, :128]
    second[(x - 92) ** 2 + (y - 76) ** 2 < 30 ** 2] = 20, 40, 200
    return first, second


def prove(
    reuse: Reuse, ask: Ask, prepare: Callable[[ImageEmbedding], int], progress: Progress,
    first: ImageEmbedding, second: ImageEmbedding,
) -> None:
    """
    Find out whether answers stay the same when pictures are not read again, and rely on it if so.

    ask: returns the first words of an answer, and how many tokens the runtime says that it read.
    prepare: reads a picture ahead; returns that number, too.
    """
    try:
        why = _try(reuse, ask, prepare, progress, (first, second))
    except BackendError as error:
        why = str(error)
    if why:
        reuse.doubt(why)


def _try(
    reuse: Reuse, ask: Ask, prepare: Callable[[ImageEmbedding], int], progress: Progress,
    images: Images,
) -> str:
    """Return what is wrong; '' = nothing."""
    told: dict[tuple[int, str], str] = {}
    for number, image in enumerate(images):
        progress(_TRIAL)
        for question in _QUESTIONS:
            told[number, question], read = ask(question, image)
            if read < image.tokens:
                return _NOT_READ if read else _NOT_COUNTED
    if all(told[0, question] == told[1, question] for question in _QUESTIONS):
        return 'the model says the same of two test pictures'
    reuse.trust()
    differing = 0
    for number in (0, 1, 0):
        progress(_TRIAL)
        if prepare(images[number]) < images[number].tokens:
            return _NOT_READ
        for question in _QUESTIONS:
            answer, read = ask(question, images[number])
            if not 0 < read < images[number].tokens:
                return f'the runtime has read {read} tokens again that it held'
            if answer == told[1 - number, question] != told[number, question]:
                return 'an answer was about the picture before'
            differing += answer != told[number, question]
    return 'answers were others than without' if differing > _MOST_NOISE else ''
