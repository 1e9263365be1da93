# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The node's parameters: names, defaults, limits and descriptions.

Backends describe their own. config/vlm.yaml lists the same parameters; a test keeps them equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
import difflib
import re
import reprlib
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter
from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.conversions import AUTO_RANGE, FULL_RANGE, Range
from vlm_npu_ros.engine.errors import RequestError, VlmError
from vlm_npu_ros.engine.fallback import FallbackSettings
from vlm_npu_ros.engine.models import AUTO
from vlm_npu_ros.engine.options import Option, option, options_of
from vlm_npu_ros.engine.placement import Region
from vlm_npu_ros.engine.pulled import backend_of, check_model, find_pulled
from vlm_npu_ros.engine.registry import all_backends, find, names
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import Sampling
from vlm_npu_ros.node.frames import HistoryLimits, NANOSECONDS
from vlm_npu_ros.node.read_ahead import ReadAheadSettings

TRANSPORTS = ('raw', 'compressed')
RELIABILITIES = ('auto', 'best_effort', 'reliable')
DURABILITIES = ('auto', 'volatile', 'transient_local')
HISTORIES = ('keep_last', 'keep_all')
ROTATIONS = (0, 90, 180, 270)
BUSY = ('queue', 'reject', 'interrupt')
STAMPS = ('header', 'arrival')
ENCODE_ON = ('time', 'change')
READ_AHEAD = ('auto', 'off', 'on')
ISOLATIONS = ('auto', 'process', 'none')
S = TypeVar('S')


@dataclass(frozen=True)
class _Spec(Option):
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
    'autostart': _Spec(True, 'Configure and activate at startup.', read_only=True),
    'model': _Spec(
        'demo',
        'Name of a model that `vlm-npu pull` has fetched or of a model profile, or path of a '
        'profile .yaml; auto = found from the files.',
        check=check_model,
    ),
    'encoder_path': _Spec('', 'Vision encoder file; empty = that of the profile.'),
    'language_model_path': _Spec('', 'Language model file; empty = that of the profile.'),
    'context': _Spec(0, 'Context in tokens; 0 = that of the profile.', 0, 16384),
    'watchdog': _Spec(
        1.0,
        'Factor on the time limits after which a silent engine in a process of its own counts as '
        'hung: 10 s for a token, 30 s for an encoding.',
        0.001, 1000.0,
    ),
    'cpu_threads': _Spec(
        0, 'Threads of the backends onnx and llamacpp; 0 = one for each core.', 0, 256,
    ),
    'cameras': _Spec(['camera'], 'Names of the cameras; the first one is the default.'),
    'standing_questions': _Spec(
        [''], 'Names of questions that are always answered, see docs/interfaces.md; empty = none.'
    ),
    'encode_rate': _Spec(
        1.0,
        'Most encodings per second and camera; 0 = only when a question needs one.',
        0.0, 100.0, least=1e-6, live=True,
    ),
    'encode_on': _Spec(
        'time',
        'What lets a frame be encoded: time (encode_rate) or change (also that it looks different '
        'from the last one; else its embedding stands for both).',
        choices=ENCODE_ON, live=True,
    ),
    'change_threshold': _Spec(
        0.03,
        'Difference, of 1 from black to white, in any of 32 x 32 parts of the picture from which '
        'it looks different.',
        0.0, 1.0, live=True,
    ),
    'read_ahead': _Spec(
        'auto',
        'Read the newest frame into the model before a question comes: on, off, or auto: where '
        'the backend has proved that it can, and where it costs no money.',
        choices=READ_AHEAD,
    ),
    'read_ahead_rate': _Spec(
        2.0, 'Most frames to read ahead per second.', 0.001, 100.0, live=True
    ),
    'read_ahead_keep': _Spec(
        30.0, 'Seconds after an answer of a dialogue in which no frame takes its place.',
        0.0, 86400.0, live=True,
    ),
    'battery': _Spec(
        '', 'Topic of the battery (sensor_msgs/BatteryState) that is to be spared; empty = none.',
    ),
    'battery_threshold': _Spec(
        0.3, 'Charge of the battery, 0 to 1, below which no frame is read ahead.', 0.0, 1.0,
        live=True,
    ),
    'history_rate': _Spec(
        1.0, 'Most frames per second and camera in the cache.', 0.01, 100.0, live=True
    ),
    'history_seconds': _Spec(
        10.0, 'Seconds that frames are cached for questions about several.', 0.0, 3600.0, live=True
    ),
    'history_memory': _Spec(
        256, 'Memory for cached frames in MiB, shared by all cameras.', 0, 65536, live=True
    ),
    'max_age': _Spec(
        5.0, 'Age in seconds of the oldest frame to answer from.', 0.001, 86400.0, live=True
    ),
    'timeout': _Spec(
        60.0, 'Seconds for an answer, waiting included.', 0.001, 86400.0, live=True
    ),
    'queue_size': _Spec(
        8, 'Questions that may wait behind the one being answered.', 0, 1000, live=True
    ),
    'busy': _Spec(
        'queue',
        'What a question does if others are open: queue (wait), reject (end itself) or interrupt '
        '(end the others).',
        choices=BUSY, live=True,
    ),
    'max_new_tokens': _Spec(128, 'Longest answer in tokens.', 1, 16384, live=True),
    'min_confidence': _Spec(
        0.5, 'A choice less likely than this is unclear, if the backend reports it.',
        0.0, 1.0, live=True,
    ),
    'ask_back': _Spec(
        True, 'Ask the model what it said where its first words do not decide.', live=True
    ),
    'system_prompt': _Spec(
        '', 'The role that the model plays, where its prompts have a place for it.', live=True
    ),
    'conversations': _Spec(16, 'Number of dialogues to remember.', 1, 10000, live=True),
    'conversation_idle': _Spec(
        600.0, 'Seconds without an answer after which a dialogue is forgotten.',
        1.0, 86400.0, live=True,
    ),
    'conversation_tokens': _Spec(
        0, 'Most tokens of a dialogue, images included; 0 = what the context holds.',
        0, 16384, live=True,
    ),
    'temperature': _Spec(
        0.0, 'Randomness of answers; 0 = always the most likely token.', 0.0, 5.0, least=0.001,
        live=True,
    ),
    'top_k': _Spec(40, 'Draw from this many most likely tokens; 0 = all.', 0, 100000, live=True),
    'top_p': _Spec(
        0.95, 'Draw from the most likely tokens that together have this probability.',
        0.0, 1.0, live=True,
    ),
    'image_reliability': _Spec(
        'auto',
        'QoS reliability of camera subscriptions: best_effort, reliable, or auto: as the '
        'publishers of a topic offer it.',
        choices=RELIABILITIES,
    ),
}


def _specs_for(backends: Sequence[Backend]) -> dict[str, _Spec]:
    """Return all parameters except those of cameras and standing questions."""
    *others, last = (f'{backend.name} ({backend.summary})' for backend in backends)
    isolated = ', '.join(backend.name for backend in backends if backend.isolated)
    backend_names = tuple(names())  # broken ones, too: configure says what is wrong with them
    groups = {'fallback': FallbackSettings, **{b.name: b.settings for b in backends}}
    return {
        **_SPECS,
        'backend': _Spec(
            AUTO,
            f'What runs the models: {", ".join(others)} or {last}; auto = what the model is for.',
            choices=(*backend_names, AUTO),
        ),
        'backends': _Spec(
            [''],
            'Several backends instead of `backend`, in order of preference: if one fails, the '
            'next one answers. Empty = only `backend`.',
            choices=backend_names, check=_refuse_repeated,
        ),
        'isolation': _Spec(
            'auto',
            'Where the models run: process (of their own, restarted after a crash), none (in the '
            f'node), or auto: process for {isolated}, none for the others.',
            choices=ISOLATIONS,
        ),
        **{
            f'{group}.{name}': _Spec(**vars(known))
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
        choices=RELIABILITIES,
    )
    durability: str = option(
        'auto', 'volatile, transient_local, or auto: as the publishers offer it.',
        choices=DURABILITIES,
    )
    history: str = option('keep_last', 'keep_last or keep_all.', choices=HISTORIES)
    depth: int = option(1, 'Frames that are kept until they are received.', 1, 1000)


@dataclass(frozen=True)
class CameraSettings:
    """One camera of the parameter `cameras`."""

    name: str
    topic: str = option('', 'Image topic of this camera.')
    transport: str = option(
        'raw', 'raw (sensor_msgs/Image) or compressed (CompressedImage).', choices=TRANSPORTS
    )
    stamp: str = option(
        'header', 'When a frame was taken: header (its stamp) or arrival.', choices=STAMPS
    )
    rotate: int = option(
        0, 'Degrees by which pictures are turned clockwise.', choices=ROTATIONS
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
_LISTED = (
    ('cameras', '', '', CameraSettings),
    ('standing_questions', 'standing.', '', StandingSettings),
    ('standing_questions', 'standing.', '.region', RegionSettings),
)
_PROMPTS = 'prompts.'


def _plain(value: Any) -> Any:
    """Make a tuple of a list, without the empty text that stands for none."""
    if isinstance(value, (bool, int, float, str)):
        return value
    return tuple(item for item in value if item != '')


class NodeParameters:
    """
    Declares the parameters on a node and reads them in the units of the code.

    overrides: values at start that the node was created with, beside those of the command line.
    Raises ValueError, which says what to write, if a value given at start is wrong. Names given
    at start that no parameter has are logged.
    """

    def __init__(self, node: Node, overrides: Iterable[Parameter] = ()) -> None:
        self._node = node
        self.locked = False  # true while a change could not take effect
        with node.handle:
            given = node.handle.get_parameters(Parameter)
        self._given = {**given, **{override.name: override for override in overrides}}
        backends = all_backends(lambda error: node.get_logger().warning(str(error)))
        self._specs: dict[str, _Spec] = {}
        node.add_on_set_parameters_callback(self._check)
        specs = _specs_for(backends)
        for name, *_ in _LISTED:
            specs[name] = replace(specs[name], check=self._check_names)
        specs['battery'] = replace(specs['battery'], check=self._check_topic)
        prompt = _Spec('', 'A question to ask by its name, as @name.', live=True)
        specs.update((name, prompt) for name in self._given if name.startswith(_PROMPTS))
        self._declare(specs)
        servers = {backend.name for backend in backends if backend.remote}
        unused = [*self._unused(), *self._overruled(servers)]
        if unused:
            node.get_logger().warning(f'Parameters without effect: {"; ".join(unused)}')

    def __getitem__(self, name: str) -> Any:
        """Read a parameter by its full name: parameters['rknpu.library']."""
        return self._node.get_parameter(name).value

    def prompt(self, question: str) -> str:
        """Return the prompt that a question names (@name), or the question; raise RequestError."""
        if not re.fullmatch(r'@\S+', question):
            return question
        known = {
            name.removeprefix(_PROMPTS): name for name in self._specs if name.startswith(_PROMPTS)
        }
        if question[1:] not in known:
            raise RequestError(
                f'There is no prompt {reprlib.repr(question)}: '
                + (f'choose one of {", ".join(known)}' if known else 'prompts has none')
            )
        return str(self[known[question[1:]]]).strip()

    @property
    def backends(self) -> tuple[str, ...]:
        """List the backends in order of preference; ValueError or VlmError if one is wrong."""
        return self._checked('backends') or (self._backend(),)

    def _backend(self) -> str:
        """Find what runs the models if only one backend does."""
        return backend_of(EngineSettings(
            self['backend'], self['model'], self['encoder_path'], self['language_model_path']))

    def isolated(self, name: str) -> bool:
        """Tell whether a backend gets a process of its own; raise ValueError if it cannot."""
        isolation, backend = self['isolation'], find(name)
        if backend.remote:
            if isolation == 'process' and len(self.backends) == 1:
                raise ValueError(
                    'isolation must be auto or none: the server is a process of its own'
                )
            return False
        return isolation == 'process' or isolation == 'auto' and backend.isolated

    @property
    def fallback(self) -> FallbackSettings:
        """When another backend is asked."""
        return self._read('fallback', FallbackSettings)

    @property
    def engines(self) -> list[EngineSettings]:
        """
        Tell what to load, in order of preference.

        Model, files and context belong to the first backend that is not a server; the model to
        any other, too, for which it was pulled.
        """
        chain = [find(name) for name in self.backends]
        local = next((backend for backend in chain if not backend.remote), chain[0])
        files = {
            name: self[name]
            for name in ('model', 'encoder_path', 'language_model_path', 'context')
        }
        return [
            EngineSettings(
                backend.name,
                **(files if backend is local else self._pulled_for(backend)),
                sampling=self.sampling,
                threads=self['cpu_threads'],
                read_ahead=self['read_ahead'] != 'off',
                options=self._read(backend.name, backend.settings),
            )
            for backend in chain
        ]

    def _pulled_for(self, backend: Backend) -> dict[str, str]:
        model = self['model']
        return {'model': model} if find_pulled(model, backend.name) else {}

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn."""
        return Sampling(self['temperature'], self['top_k'], self['top_p'])

    @property
    def battery(self) -> str:
        """Topic of the battery; '' = none. ValueError for what is no name of a topic."""
        topic: str = self._checked('battery')
        return topic

    @property
    def change_threshold(self) -> float | None:
        """Difference from which a frame is encoded; None = any is."""
        return self['change_threshold'] if self['encode_on'] == 'change' else None

    @property
    def reading_ahead(self) -> ReadAheadSettings:
        """How much is read ahead."""
        return ReadAheadSettings(
            is_asked=self['read_ahead'] == 'on',
            rate=self['read_ahead_rate'],
            keep=self['read_ahead_keep'],
            idle=self['conversation_idle'],
            role=self['system_prompt'].strip(),
        )

    def history_limits(self, cameras: int) -> HistoryLimits:
        """Return the limits of the cache of each camera."""
        return HistoryLimits(
            period=round(NANOSECONDS / self['history_rate']),
            span=round(self['history_seconds'] * NANOSECONDS),
            size=self['history_memory'] * 2**20 // cameras,
        )

    def cameras(self) -> list[CameraSettings]:
        """Declare the parameters of new cameras and read all; raise ValueError if one is wrong."""
        cameras = self._checked('cameras')
        if not cameras:
            raise ValueError('The parameter cameras must name at least one camera')
        return [self._camera(name) for name in cameras]

    def _camera(self, name: str) -> CameraSettings:
        resolve = self._node.resolve_topic_name
        topic = {'default': f'{name}/image_raw', 'check': resolve}
        other = {'check': self._check_topic}
        changes = {'topic': topic, 'depth': other, 'camera_info': other}
        camera = self._read(name, CameraSettings, changes, name=name)
        qos = self._read(f'qos_overrides.{resolve(camera.topic)}.subscription', CameraQos)
        if qos.reliability == 'auto':
            qos = replace(qos, reliability=self['image_reliability'])
        return replace(camera, qos=qos)

    def standing(self) -> list[StandingSettings]:
        """Declare the parameters of new questions and read all; raise ValueError like cameras."""
        return [
            self._read(
                f'standing.{name}', StandingSettings, name=name,
                region=self._read(f'standing.{name}.region', RegionSettings),
            )
            for name in self._checked('standing_questions')
        ]

    def _read(
        self,
        group: str,
        settings: Callable[..., S],
        changes: Mapping[str, Mapping[str, Any]] = {},
        **more: object,
    ) -> S:
        """
        Read a settings dataclass, each option of which is a parameter of that group.

        changes: fields of _Spec that differ from those of an option. more: fields of the
        dataclass that are no options.
        """
        specs = {
            name: _Spec(**{**vars(known), **changes.get(name, {})})
            for name, known in options_of(settings).items()
        }
        self._declare({f'{group}.{name}': spec for name, spec in specs.items()})
        return settings(**more, **{name: self._checked(f'{group}.{name}') for name in specs})

    def _declare(self, specs: Mapping[str, _Spec]) -> None:
        """Declare those that are new; raise ValueError if a value given at start is wrong."""
        new = {name: s for name, s in specs.items() if not self._node.has_parameter(name)}
        given = {name: self._given[name] for name in new if name in self._given}
        # rcl gives an empty list neither a type nor a value.
        empty = {
            name for name, parameter in given.items()
            if new[name].kind is tuple and parameter.type_ is Parameter.Type.NOT_SET
        }
        wrong = [
            f'{name} {reason}' for name in given.keys() - empty
            if (reason := new[name].objection(given[name].value))
        ]
        if wrong:
            raise ValueError('; '.join(sorted(wrong)))
        self._specs |= new
        for name, spec in new.items():
            self._node.declare_parameter(
                name,
                [''] if name in empty else spec.default,
                spec.descriptor,
                ignore_override=name in empty,
            )

    def _checked(self, name: str) -> Any:
        """Read a parameter, a list as a tuple without empty texts; raise ValueError if wrong."""
        value, spec = self[name], self._specs[name]
        if reason := spec.complaint(value):
            raise ValueError(f'{name}: {reason}')
        return _plain(value)

    def _check_names(self, given: Sequence[str]) -> None:
        """Raise ValueError unless they are different names that no parameter has."""
        given = [name for name in given if name]
        if len(set(given)) < len(given) or not all(map(self._is_name, given)):
            raise ValueError(
                f'must be different names of letters, digits and _, not {", ".join(given)}'
            )

    def _check_topic(self, name: str) -> None:
        """Raise ValueError for what is no name of a topic; '' is none, on purpose."""
        if name:
            self._node.resolve_topic_name(name)

    def _is_name(self, name: str) -> bool:
        return name.isidentifier() and name.isascii() and name not in self._specs

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        reason = next(filter(None, map(self._objection, changes)), '')
        for change in changes if reason else ():
            if self._node.has_parameter(change.name):
                # rclpy has noted the type of the new value.
                present = self._node.get_parameter(change.name).type_.value
                self._node.describe_parameter(change.name).type = present
        return SetParametersResult(successful=not reason, reason=reason)

    def _objection(self, change: Parameter) -> str:
        """Say why a parameter cannot take a value; '' if it can."""
        name, value, spec = change.name, change.value, self._specs.get(change.name)
        if spec is None:
            return ''
        if reason := spec.objection(value):
            return f'{name} {reason}'
        if not self._node.has_parameter(name) or self._is_present(name, value):
            return ''
        if spec.read_only:
            return f'{name} is read once, at start'
        if self.locked and not spec.live:
            return f'{name} takes effect at configure: clean the node up first'
        reason = spec.complaint(value)
        return f'{name}: {reason}' if reason else ''

    def _is_present(self, name: str, value: Any) -> bool:
        """Tell whether a parameter has this value already."""
        return bool(_plain(value) == _plain(self[name]))

    def _unused(self) -> Iterator[str]:
        """Describe the parameters that were given at start and that do not exist."""
        listed = [
            f'{prefix}{item}{suffix}.{name}'
            for parameter, prefix, suffix, settings in _LISTED
            for item in self[parameter]
            for name in options_of(settings)
        ]
        known = [*self._specs, *listed]
        for given in self._given:
            if given in known or given.startswith('qos_overrides.'):
                continue
            if not self._node.has_parameter(given):  # not one of rclpy's own
                yield f'{given} ({self._explained(given, known)})'

    def _overruled(self, servers: set[str]) -> Iterator[str]:
        """Describe the parameters that were given at start and that others leave no effect."""
        chain = _plain(self['backends'])
        reasons = {'backend': f'backends is {", ".join(chain)}'} if chain else {}
        if servers.issuperset(chain or (self['backend'],)):
            files = ('model', 'encoder_path', 'language_model_path')
            reasons.update(dict.fromkeys(files, 'the server has its own models'))
        for name, reason in reasons.items():
            if name in self._given and self[name] != self._specs[name].default:
                yield f'{name} ({reason})'

    def _explained(self, given: str, known: Sequence[str]) -> str:
        """Say why a parameter does not exist, or what was probably meant."""
        owner, _, option_name = given.rpartition('.')
        for parameter, prefix, suffix, settings in _LISTED:
            item = owner.removeprefix(prefix).removesuffix(suffix)
            if option_name in options_of(settings) and self._is_name(item):
                return f'{parameter} does not name {item}'
        close = difflib.get_close_matches(given, known, n=1)
        return f'did you mean {close[0]}?' if close else 'there is no such parameter'
