# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A report as one HTML page: pictures inside, no scripts, nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import datetime
from html import escape
from itertools import groupby
import math

from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.types import DecidedBy, UNCLEAR
from vlm_npu_ros.nav.patrol.report import (
    ANSWERED,
    Answered,
    EXPECTED,
    FAILED,
    Report,
    UNEXPECTED,
    Visit,
)

# The words for a verdict, and the class of its badge.
BADGES = {
    EXPECTED: ('as expected', 'good'),
    UNEXPECTED: ('not as expected', 'bad'),
    UNCLEAR: ('unclear', 'odd'),
    FAILED: ('failed', 'bad'),
    ANSWERED: ('', ''),
}
_MAP = (640, 240)  # of the drawing of the route
_MAP_MARGIN = 36

_STYLE = """
:root { color-scheme: light dark; --paper: #f0f2f5; --card: #fff; --rim: #d6dae0; --ink: #1c2026;
  --grey: #66707c; --good: #1f8a4c; --bad: #c5332f; --odd: #a8690a; --line: #3465af; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --card: #1e2227; --rim: #343a42;
  --ink: #e6e9ed; --grey: #98a2ae; --good: #4cc383; --bad: #ff7b74; --odd: #e8ac4e;
  --line: #7aa7ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 16px 48px; max-width: 1080px; background: var(--paper);
  color: var(--ink); font: 16px/1.45 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 0; font-size: 1.15rem; }
p { margin: 4px 0; } .meta { color: var(--grey); font-size: .87rem; }
.card { margin-top: 18px; padding: 18px; background: var(--card); border: 1px solid var(--rim);
  border-radius: 10px; }
.look { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 18px;
  margin-top: 12px; }
.look.blind { grid-template-columns: 1fr; }
figure { margin: 0; } img, svg { display: block; width: 100%; height: auto; border-radius: 6px; }
dl { margin: 0; } dt { font-weight: 600; } dd { margin: 2px 0 14px; }
.badge { display: inline-block; padding: 0 9px; border: 1px solid currentColor;
  border-radius: 999px; font-size: .8rem; font-weight: 600; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .odd { color: var(--odd); }
svg { max-width: 640px; margin: 6px auto 0; } svg text { font: 600 13px system-ui, sans-serif; }
@media (max-width: 640px) { .look { grid-template-columns: 1fr; } .card { padding: 14px; } }
@media print { body { max-width: none; } .card { break-inside: avoid; } }
"""


def page(report: Report) -> str:
    """Write the HTML of the page."""
    ended = f' to {_moment(report.ended, "%H:%M:%S")}' if report.ended else ''
    outcome = _badge(report.outcome, 'good' if report.outcome == 'completed' else 'bad')
    return ''.join([
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(report.mission)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
        f'<h1>{escape(report.mission)}</h1>\n'
        f'<p class="meta">{_moment(report.started, "%Y-%m-%d %H:%M:%S")}{ended}</p>\n'
        f'<p>{outcome} {escape(report.summary)}</p>\n',
        _route(report.waypoints),
        *(_visit(report, number, visit) for number, visit in enumerate(report.waypoints, 1)),
        '</body>\n</html>\n',
    ])


def _visit(report: Report, number: int, visit: Visit) -> str:
    place = (
        f'x {visit.x:.2f} m, y {visit.y:.2f} m, {math.degrees(visit.yaw):.0f}° '
        f'in {escape(visit.frame_id)}'
    )
    when = f', arrived {_moment(visit.arrived, "%H:%M:%S")}' if visit.arrived else ''
    missed = '' if visit.reached else ' ' + _badge('not reached', 'bad')
    looks = groupby(visit.answers, lambda answered: answered.picture)
    return ''.join([
        f'<section class="card">\n<h2>{number}. {escape(visit.name)}{missed}</h2>\n'
        f'<p class="meta">{place}{when}</p>\n',
        f'<p class="bad">{escape(visit.error)}</p>\n' if visit.error else '',
        *(_look(report.pictures.get(name), answers) for name, answers in looks),
        '</section>\n',
    ])


def _look(picture: bytes | None, answers: Iterable[Answered]) -> str:
    """Put a frame beside the answers about it."""
    figure = ''
    if picture is not None:
        data = base64.b64encode(picture).decode()
        figure = (
            '<figure><img alt="what the camera saw" '
            f'src="data:image/jpeg;base64,{data}"></figure>\n'
        )
    entries = ''.join(map(_entry, answers))
    kind = 'look' if figure else 'look blind'
    return f'<div class="{kind}">\n{figure}<dl>\n{entries}</dl>\n</div>\n'


def _entry(answered: Answered) -> str:
    words, tone = BADGES[answered.verdict]
    said = answered.choice or answered.answer or '(no answer)'
    lines = [f'<dd><span class="{tone}">{escape(said)}</span> {_badge(words, tone)}']
    if answered.quote:
        lines.append(f'<p>“{escape(answered.quote)}”</p>')
    if answered.error:
        code = f'error {answered.error_code}: ' if answered.error_code else ''
        lines.append(f'<p class="bad">{code}{escape(answered.error)}</p>')
    lines.append(f'<p class="meta">{escape(remark(answered))}</p></dd>')
    return f'<dt>{escape(answered.question)}</dt>\n' + '\n'.join(lines) + '\n'


def remark(answered: Answered) -> str:
    """Collect the details of an answer in a line."""
    parts = []
    if answered.choices:
        parts.append(f'one of: {", ".join(answered.choices)}')
    if answered.expect:
        parts.append(f'expected: {answered.expect}')
    if answered.confidence:
        parts.append(f'confidence {answered.confidence:.2f}')
    if answered.decided_by:
        parts.append(f'decided by {DecidedBy(answered.decided_by).told}')
    if answered.age is not None:
        parts.append(f'frame {in_words(answered.age)} old')
    if answered.note:
        parts.append(answered.note)
    return ', '.join(parts)


def _badge(words: str, tone: str) -> str:
    return f'<span class="badge {tone}">{escape(words)}</span>' if words else ''


def _moment(seconds: float, form: str) -> str:
    return datetime.fromtimestamp(seconds).strftime(form)


def _tone(visit: Visit) -> str:
    """Find the worst verdict at a waypoint."""
    tones = {BADGES[answered.verdict][1] for answered in visit.answers}
    if not visit.reached or 'bad' in tones:
        return 'bad'
    return 'odd' if 'odd' in tones else 'good'


def _route(visits: list[Visit]) -> str:
    """Draw the route, north up."""
    if len(visits) < 2:
        return ''
    width, height = (side - 2 * _MAP_MARGIN for side in _MAP)
    left, top = min(v.x for v in visits), max(v.y for v in visits)
    wide, high = max(v.x for v in visits) - left, top - min(v.y for v in visits)
    scale = min(width / wide if wide else math.inf, height / high if high else math.inf)
    scale = scale if math.isfinite(scale) else 0.0
    margins = [(side - scale * size) / 2 for side, size in zip(_MAP, (wide, high), strict=True)]
    points = [
        (margins[0] + scale * (v.x - left), margins[1] + scale * (top - v.y)) for v in visits
    ]
    path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
    dots = ''.join(
        f'<g class="{_tone(visit)}"><circle cx="{x:.1f}" cy="{y:.1f}" r="14" '
        'fill="var(--card)" stroke="currentColor" stroke-width="2.5"/>'
        f'<text x="{x:.1f}" y="{y + 4.5:.1f}" text-anchor="middle" fill="currentColor">'
        f'{number}</text></g>'
        for number, ((x, y), visit) in enumerate(zip(points, visits, strict=True), 1)
    )
    return (
        f'<div class="card"><svg viewBox="0 0 {_MAP[0]} {_MAP[1]}" role="img" '
        f'aria-label="the route"><polyline points="{path}" fill="none" stroke="var(--line)" '
        f'stroke-width="2" stroke-dasharray="6 5"/>{dots}</svg></div>\n'
    )
