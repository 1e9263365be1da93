# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
Which parameters the node has: names, defaults, limits and descriptions.

Backends describe their own. config/vlm.yaml lists the same parameters; a test keeps them equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.conversions import AUTO_RANGE, FULL_RANGE, Range
from vlm_npu_ros.engine.errors import VlmError
from vlm_npu_ros.engine.fallback import FallbackSettings
from vlm_npu_ros.engine.models import AUTO
from vlm_npu_ros.engine.options import Option, option, options_of
from vlm_npu_ros.engine.placement import Region
from vlm_npu_ros.engine.pulled import check_model
from vlm_npu_ros.engine.registry import names

_RELIABILITIES = ('auto', 'best_effort', 'reliable')


@dataclass(frozen=True)
class Spec(Option):
    """
    A parameter.

    live: it may be set at any time; others take effect at configure.
    read_only: only its value at start counts.
    check: raises VlmError or ValueError for a value that cannot be used, at configure and when it
        is set.
    """

    live: bool = False
    read_only: bool = False
    check: Callable[[Any], object] | None = None

    def complaint(self, value: Any) -> str:
        """Say what `check` has against a value; '' = nothing."""
        try:
            if self.check:
                self.check(value)
        except (VlmError, ValueError, RuntimeError) as error:  # the last one is rclpy's
            return str(error)
        return ''

    @property
    def descriptor(self) -> ParameterDescriptor:
        """
        Make the ROS descriptor.

        Its types are dynamic and it is never read-only, because NodeParameters checks both: a set
        that changes nothing is accepted, as is any empty list, and reasons say what to write.
        """
        when = '' if self.live else ' Takes effect at configure.'
        if self.read_only:
            when = ' Read once, at start.'
        descriptor = ParameterDescriptor(description=self.about + when, dynamic_typing=True)
        if self.choices:
            descriptor.additional_constraints = f'Must be {self.allowed}.'
        elif self.least:
            descriptor.additional_constraints = f'Must be 0 or at least {self.least:g}.'
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                limits = IntegerRange(from_value=int(self.low), to_value=int(self.high))
                descriptor.integer_range = [limits]
            else:
                limits = FloatingPointRange(from_value=self.low, to_value=self.high)
                descriptor.floating_point_range = [limits]
        return descriptor


def _refuse_repeated(backends: Sequence[str]) -> None:
    given = [name for name in backends if name]
    if len(set(given)) < len(given):
        raise ValueError(f'each must be given once, not {", ".join(given)}')


_SPECS = {
    'autostart': Spec(True, 'Configure and activate at startup.', read_only=True),
    'model': Spec(
        'demo',
        'Name of a model that `vlm-npu pull` has fetched or of a model profile, or path of a '
        'profile .yaml; auto = found from the files.',
        check=check_model,
    ),
    'encoder_path': Spec('', 'Vision encoder file; empty = that of the profile.'),
    'language_model_path': Spec('', 'Language model file; empty = that of the profile.'),
    'context': Spec(0, 'Context in tokens; 0 = that of the profile.', 0, 16384),
    'watchdog': Spec(
        1.0,
        'Factor on the time limits after which a silent engine in a process of its own counts as '
        'hung: 10 s for a token, 30 s for an encoding.',
        0.001, 1000.0,
    ),
    'cpu_threads': Spec(
        0, 'Threads of the backends onnx and llamacpp; 0 = one for each core.', 0, 256,
    ),
    'cameras': Spec(['camera'], 'Names of the cameras; the first one is the default.'),
    'standing_questions': Spec(
        [''], 'Names of questions that are always answered, see docs/interfaces.md; empty = none.'
    ),
    'encode_rate': Spec(
        1.0,
        'Most encodings per second and camera; 0 = only when a question needs one.',
        0.0, 100.0, least=1e-6, live=True,
    ),
    'encode_on': Spec(
        'time',
        'What lets a frame be encoded: time (encode_rate) or change (also that it looks different '
        'from the last one; else its embedding stands for both).',
        choices=('time', 'change'), live=True,
    ),
    'change_threshold': Spec(
        0.03,
        'Difference, of 1 from black to white, in any of 32 x 32 parts of the picture from which '
        'it looks different.',
        0.0, 1.0, live=True,
    ),
    'read_ahead': Spec(
        'auto',
        'Read the newest frame into the model before a question comes: on, off, or auto: where '
        'the backend has proved that it can, and where it costs no money.',
        choices=('auto', 'off', 'on'),
    ),
    'read_ahead_rate': Spec(
        2.0, 'Most frames to read ahead per second.', 0.001, 100.0, live=True
    ),
    'read_ahead_keep': Spec(
        30.0, 'Seconds after an answer of a dialogue in which no frame takes its place.',
        0.0, 86400.0, live=True,
    ),
    'battery': Spec(
        '', 'Topic of the battery (sensor_msgs/BatteryState) that is to be spared; empty = none.',
    ),
    'battery_threshold': Spec(
        0.3, 'Charge of the battery, 0 to 1, below which no frame is read ahead.', 0.0, 1.0,
        live=True,
    ),
    'history_rate': Spec(
        1.0, 'Most frames per second and camera in the cache.', 0.01, 100.0, live=True
    ),
    'history_seconds': Spec(
        10.0, 'Seconds that frames are cached for questions about several.', 0.0, 3600.0, live=True
    ),
    'history_memory': Spec(
        256, 'Memory for cached frames in MiB, shared by all cameras.', 0, 65536, live=True
    ),
    'max_age': Spec(
        5.0, 'Age in seconds of the oldest frame to answer from.', 0.001, 86400.0, live=True
    ),
    'timeout': Spec(
        60.0, 'Seconds for an answer, waiting included.', 0.001, 86400.0, live=True
    ),
    'queue_size': Spec(
        8, 'Questions that may wait behind the one being answered.', 0, 1000, live=True
    ),
    'busy': Spec(
        'queue',
        'What a question does if others are open: queue (wait), reject (end itself) or interrupt '
        '(end the others).',
        choices=('queue', 'reject', 'interrupt'), live=True,
    ),
    'max_new_tokens': Spec(128, 'Longest answer in tokens.', 1, 16384, live=True),
    'min_confidence': Spec(
        0.5, 'A choice less likely than this is unclear, if the backend reports it.',
        0.0, 1.0, live=True,
    ),
    'ask_back': Spec(
        True, 'Ask the model what it said where its first words do not decide.', live=True
    ),
    'system_prompt': Spec(
        '', 'The role that the model plays, where its prompts have a place for it.', live=True
    ),
    'conversations': Spec(16, 'Number of dialogues to remember.', 1, 10000, live=True),
    'conversation_idle': Spec(
        600.0, 'Seconds without an answer after which a dialogue is forgotten.',
        1.0, 86400.0, live=True,
    ),
    'conversation_tokens': Spec(
        0, 'Most tokens of a dialogue, images included; 0 = what the context holds.',
        0, 16384, live=True,
    ),
    'temperature': Spec(
        0.0, 'Randomness of answers; 0 = always the most likely token.', 0.0, 5.0, least=0.001,
        live=True,
    ),
    'top_k': Spec(40, 'Draw from this many most likely tokens; 0 = all.', 0, 100000, live=True),
    'top_p': Spec(
        0.95, 'Draw from the most likely tokens that together have this probability.',
        0.0, 1.0, live=True,
    ),
    'image_reliability': Spec(
        'auto',
        'QoS reliability of camera subscriptions: best_effort, reliable, or auto: as the '
        'publishers of a topic offer it.',
        choices=_RELIABILITIES,
    ),
}


def specs_for(backends: Sequence[Backend]) -> dict[str, Spec]:
    """Return all parameters except those of cameras and standing questions."""
    *others, last = (f'{backend.name} ({backend.summary})' for backend in backends)
    isolated = ', '.join(backend.name for backend in backends if backend.isolated)
    backend_names = tuple(names())  # broken ones, too: configure says what is wrong with them
    groups = {'fallback': FallbackSettings, **{b.name: b.settings for b in backends}}
    return {
        **_SPECS,
        'backend': Spec(
            AUTO,
            f'What runs the models: {", ".join(others)} or {last}; auto = what the model is for.',
            choices=(*backend_names, AUTO),
        ),
        'backends': Spec(
            [''],
            'Several backends instead of `backend`, in order of preference: if one fails, the '
            'next one answers. Empty = only `backend`.',
            choices=backend_names, check=_refuse_repeated,
        ),
        'isolation': Spec(
            'auto',
            'Where the models run: process (of their own, restarted after a crash), none (in the '
            f'node), or auto: process for {isolated}, none for the others.',
            choices=('auto', 'process', 'none'),
        ),
        **{
            f'{group}.{name}': Spec(**vars(known))
            for group, settings in groups.items()
            for name, known in options_of(settings).items()
        },
    }


@dataclass(frozen=True)
class CameraQos:
    """
    How a camera's topic is subscribed to; auto = as its publishers offer it.

    The parameters are those by which the QoS of any ROS node can be overridden.
    """

    reliability: str = option(
        'auto', 'best_effort, reliable, or auto: what image_reliability says.',
        choices=_RELIABILITIES,
    )
    durability: str = option(
        'auto', 'volatile, transient_local, or auto: as the publishers offer it.',
        choices=('auto', 'volatile', 'transient_local'),
    )
    history: str = option('keep_last', 'keep_last or keep_all.', choices=('keep_last', 'keep_all'))
    depth: int = option(1, 'Frames that are kept until they are received.', 1, 1000)


@dataclass(frozen=True)
class CameraSettings:
    """One camera of the parameter `cameras`."""

    name: str
    topic: str = option('', 'Image topic of this camera.')
    transport: str = option(
        'raw', 'raw (sensor_msgs/Image) or compressed (CompressedImage).',
        choices=('raw', 'compressed'),
    )
    stamp: str = option(
        'header', 'When a frame was taken: header (its stamp) or arrival.',
        choices=('header', 'arrival'),
    )
    rotate: int = option(
        0, 'Degrees by which pictures are turned clockwise.', choices=(0, 90, 180, 270)
    )
    range: Range = option(  # noqa: A003
        FULL_RANGE,
        'Values that become black and white, of pictures with more than 8 bits: full, auto (those '
        'of each frame) or [low, high].',
        choices=(FULL_RANGE, AUTO_RANGE), pair=True,
    )
    depth: str = option(
        '', 'Topic of depth pictures aligned to those of this camera; empty = none.'
    )
    camera_info: str = option('', "Topic of this camera's calibration; empty = none.")
    qos: CameraQos = CameraQos()


@dataclass(frozen=True)
class RegionSettings:
    """The part of a picture to look at, as fractions of its sides; all 0 = the whole picture."""

    x: float = option(0.0, 'Left edge of the part to look at, 0 to 1.', 0.0, 1.0)
    y: float = option(0.0, 'Upper edge of it, 0 to 1.', 0.0, 1.0)
    width: float = option(0.0, 'Its width, 0 to 1; 0 = up to the right edge.', 0.0, 1.0)
    height: float = option(0.0, 'Its height, 0 to 1; 0 = down to the lower edge.', 0.0, 1.0)

    @property
    def region(self) -> Region | None:
        """Give the region; None = the whole picture."""
        if self == RegionSettings():
            return None
        return Region(
            self.x, self.y, self.width or 1 - self.x, self.height or 1 - self.y, relative=True)


@dataclass(frozen=True)
class StandingSettings:
    """One question of the parameter `standing_questions`."""

    name: str
    question: str = option('', 'The question.')
    camera: str = option('', 'A name in cameras, or several: front,rear; empty = the first one.')
    answer_type: str = option(
        'yes_no', 'yes_no, choice, number, text, locate or json.',
        choices=('yes_no', 'choice', 'number', 'text', 'locate', 'json'),
    )
    choices: tuple[str, ...] = option(('',), 'The allowed answers of the type choice.')
    unit: str = option('', 'Of a number.')
    minimum: float = option(0.0, 'A smaller number is unclear.')
    maximum: float = option(0.0, 'A larger number is unclear; both 0 = any.')
    json_schema: str = option('', 'A JSON Schema for the type json; empty = any JSON.')
    never_ask_back: bool = option(
        False, 'The model is not asked what an answer says that decides for nothing.'
    )
    expected: str = option(
        '', 'The choice for which the service succeeds; empty = yes, or the first one. Of locate: '
        'yes (it is seen) or no.'
    )
    period: float = option(
        1.0, 'Seconds between looks; 0 = at each new embedding.', 0.0, 86400.0, unit='s'
    )
    max_age: float = option(
        5.0, 'Age of the frame in seconds up to which the service succeeds.', 0.001, 86400.0,
        unit='s',
    )
    agreeing: int = option(1, 'Equal answers in a row that confirm a choice.', 1, 1000)
    min_confidence: float = option(
        0.0, 'A choice less likely than this is unclear; 0 = parameter min_confidence.', 0.0, 1.0
    )
    region: RegionSettings = RegionSettings()


# Parameters that list names; what is around a name, and settings of what is named.
LISTED = (
    ('cameras', '', '', CameraSettings),
    ('standing_questions', 'standing.', '', StandingSettings),
    ('standing_questions', 'standing.', '.region', RegionSettings),
)
PROMPTS = 'prompts.'
