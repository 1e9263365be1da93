"""A report as a PNG file."""

from __future__ import annotations

from itertools import groupby
import math

import numpy as np
from vlm_npu_ros.demo import drawing
from vlm_npu_ros.engine.images import decode_image
from vlm_npu_ros.nav.report import Answered, Report, Visit
from vlm_npu_ros.nav.report_page import BADGES, remark

_TONES = {
    'good': (drawing.GREEN, 'tick'),
    'bad': (drawing.RED, 'cross'),
    'odd': (drawing.AMBER, 'bang'),
    '': (drawing.INK, ''),
}
_TAGS = {
    'text': ('text', drawing.BLUE),
    'yes_no': ('yes/no', drawing.PURPLE),
    'choice': ('choice', drawing.PURPLE),
}


def picture(report: Report) -> bytes:
    """Return the PNG file; what OpenCV's font lacks is shown as a question mark."""
    cards = [
        card
        for number, visit in enumerate(report.waypoints, 1)
        for card in _cards(report, number, visit)
    ]
    subtitle = f'{report.outcome.capitalize()}. {report.summary}'
    return drawing.png(drawing.draw(report.mission, subtitle, cards))


def _cards(report: Report, number: int, visit: Visit) -> list[drawing.Card]:
    """Return a card for each frame; one without a frame if there is none."""
    title = (
        f'{number}. {visit.name}   x {visit.x:.2f} m, y {visit.y:.2f} m, '
        f'{math.degrees(visit.yaw):.0f} deg'
    )
    if not visit.reached:
        title += f'   NOT REACHED: {visit.error}'
    cards = [
        drawing.Card(_frame(report.pictures.get(name)), title, tuple(map(_entry, answers)))
        for name, answers in groupby(visit.answers, lambda answered: answered.picture)
    ]
    return cards or [drawing.Card(None, title, ())]


def _frame(data: bytes | None) -> np.ndarray | None:
    return None if data is None else decode_image(data)


def _entry(answered: Answered) -> drawing.Entry:
    words, tone = BADGES[answered.verdict]
    colour, mark = _TONES[tone]
    tag, tag_colour = _TAGS[answered.kind]
    said = answered.choice or answered.answer or '(no answer)'
    quote = f'"{answered.quote}"' if answered.quote else ''
    return drawing.Entry(
        tag=tag,
        tag_colour=tag_colour,
        question=answered.question,
        answer=f'{said}  ({words})' if words else said,
        colour=colour,
        mark=mark,
        aside=' '.join(filter(None, [quote, answered.error])),
        note=remark(answered),
    )
