# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Why a question has no frame."""

from __future__ import annotations

import time

from vlm_npu_ros.engine.durations import in_words
from vlm_npu_ros.engine.errors import ImageError, NoFrameError, StaleFrameError, VlmError
from vlm_npu_ros.node.cameras import Feed
from vlm_npu_ros.node.clock import StampClock
from vlm_npu_ros.node.frames import Freshness, NANOSECONDS

_SILENT = 2.0  # seconds without a frame after which a camera may have stopped
_FASTEST = 100  # simulated seconds in a second; more than any simulation makes
_TAI = 37.0  # seconds ahead of UTC, since 2017
_NEAR = 1.5  # seconds between stamps and the clock that they come from
_SLOW = 10.0  # seconds that a frame may take from the camera to here


def obstacle(
    feed: Feed, freshness: Freshness, clock: StampClock, timeout: float = 0.0
) -> VlmError | None:
    """
    Return why no frame of a camera will fit a question; None = it is worth waiting for one.

    timeout: of the question, seconds.
    """
    fault = clock.fault(is_new=True)
    if fault:
        return fault
    lag = feed.arrivals.lag
    if lag is not None and abs(lag) > freshness.max_age:
        return _other_clock(feed, freshness, clock, lag)
    reach = timeout * NANOSECONDS * (_FASTEST if clock.is_simulated else 1)
    if freshness.not_before > clock.now() + reach:
        return _not_reached(feed, freshness, clock)
    return None


def complaint(feed: Feed, freshness: Freshness, clock: StampClock) -> VlmError:
    """Return why no frame of a camera has fitted a question until now."""
    fault = clock.fault()
    if fault:
        return fault
    camera = f'camera {feed.settings.name!r} ({feed.topic})'
    if feed.fault:
        return ImageError(f'The frames of {camera} cannot be read: {feed.fault}')
    newest, frame, now = feed.arrivals.newest, feed.frame, clock.now()
    reason = remedy = ''
    if newest is None or time.monotonic() - newest.at > _SILENT:
        what, remedy = feed.silence()
        reason = f': {what}'
    cause = reason + clock.remark
    if newest is None:
        return NoFrameError(
            f'Camera {feed.settings.name!r} has delivered no usable frame yet{cause}', remedy
        )
    if not clock.holds(newest):
        return NoFrameError(
            f'No frame of {camera} has come since the clock was set back by '
            f'{_words(clock.ended - clock.began)}{reason}', remedy
        )
    lag = feed.arrivals.lag
    if lag is None and not newest.behind:  # that one may be ahead of its time
        lag = newest.arrived - newest.stamp
    if lag is not None and abs(lag) > freshness.max_age:
        return _other_clock(feed, freshness, clock, lag)
    if frame is None:
        return NoFrameError(f'No frame of {camera} has been encoded yet{clock.remark}')
    if freshness.admits(frame, now):
        return NoFrameError(f'A frame of {camera} was encoded too late', 'Allow a longer timeout')
    age = now - frame.stamp
    how = f'{_words(age)} old' if age >= 0 else f'{_words(-age)} ahead of the clock'
    told = f'The newest frame of {camera} is {how}'
    if abs(age) > freshness.max_age:
        if frame.stamp < newest.stamp:
            took = in_words(frame.embedding.encode_seconds)
            cause = clock.remark
            remedy = f'A newer one is being encoded, which takes {took}: allow a larger max_age'
        return StaleFrameError(f'{told}, {_words(freshness.max_age)} are allowed{cause}', remedy)
    if freshness.not_before > now:
        return _not_reached(feed, freshness, clock)
    before = _words(freshness.not_before - frame.stamp)
    return NoFrameError(f'{told}, which is {before} before the time asked for{cause}', remedy)


def _not_reached(feed: Feed, freshness: Freshness, clock: StampClock) -> NoFrameError:
    ahead = freshness.not_before - clock.now()
    advice = 'Take it from the clock of this node: use_sim_time in both or in neither'
    return NoFrameError(
        f'Camera {feed.settings.name!r} ({feed.topic}) has no frame of the time asked for, which '
        f'is {_words(ahead)} ahead of the clock of this node ({_kind(clock)}){clock.remark}',
        advice if ahead > _SLOW * NANOSECONDS else '',
    )


def _other_clock(
    feed: Feed, freshness: Freshness, clock: StampClock, lag: int
) -> StaleFrameError:
    """Return the error of a camera whose stamps do not fit the clock."""
    name, kind = feed.settings.name, _kind(clock)
    if 0 < lag < _SLOW * NANOSECONDS:
        how = f'are {_words(lag)} old when they come'
    else:
        where = 'behind' if lag > 0 else 'ahead of'
        how = f'have stamps {_words(abs(lag))} {where} the clock of this node ({kind})'
    return StaleFrameError(
        f'The frames of camera {name!r} ({feed.topic}) {how}, {_words(freshness.max_age)} are '
        'allowed',
        f'{_advice(clock, clock.now() - lag, lag / NANOSECONDS)}, or set {name}.stamp to arrival',
    )


def _advice(clock: StampClock, stamp: int, lag: float) -> str:
    """Say what to do about stamps that are `lag` seconds behind the clock, for example `stamp`."""
    seconds = stamp / NANOSECONDS
    if clock.is_simulated:
        if abs(seconds - time.time()) < abs(lag) / 2:
            return 'They are of the system time: set use_sim_time for the camera too, or nowhere'
        return 'Is all of the recording or simulation on one clock? Publish its time on /clock'
    if abs(seconds - time.monotonic()) < _NEAR + _SLOW:
        return 'They count from the start of the computer, as CLOCK_MONOTONIC does'
    if abs(lag + _TAI) < _NEAR:
        return 'They are TAI, as of a PTP clock without the offset to UTC: correct that'
    if 0 < lag < _SLOW:
        return 'Allow a larger max_age or, if its clock is another one, synchronise it'
    return (
        'A recording or simulation needs /clock (ros2 bag play --clock) and use_sim_time; the '
        'clock of another computer must be synchronised'
    )


def _kind(clock: StampClock) -> str:
    return 'simulated time' if clock.is_simulated else 'system time'


def _words(nanoseconds: float) -> str:
    return in_words(nanoseconds / NANOSECONDS)
