"""
The node's parameters: names, defaults, limits and descriptions.

Backends describe their own. config/vlm.yaml lists the same parameters; a test keeps them equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter
from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.fallback import FallbackSettings
from vlm_npu_ros.engine.options import Option, option, options_of
from vlm_npu_ros.engine.registry import all_backends, find
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import Sampling
from vlm_npu_ros.node.frames import HistoryLimits, NANOSECONDS

TRANSPORTS = ('raw', 'compressed')
RELIABILITIES = ('best_effort', 'reliable')
BUSY = ('queue', 'reject', 'interrupt')
ISOLATIONS = ('auto', 'process', 'none')
S = TypeVar('S')


@dataclass(frozen=True)
class _Spec(Option):
    """A parameter; `live` ones may be set at any time, others take effect at configure."""

    live: bool = False
    read_only: bool = False

    @property
    def descriptor(self) -> ParameterDescriptor:
        """Make the ROS descriptor."""
        when = '' if self.live or self.read_only else ' Takes effect at configure.'
        descriptor = ParameterDescriptor(description=self.about + when, read_only=self.read_only)
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                limits = IntegerRange(from_value=int(self.low), to_value=int(self.high))
                descriptor.integer_range = [limits]
            else:
                limits = FloatingPointRange(from_value=self.low, to_value=self.high)
                descriptor.floating_point_range = [limits]
        return descriptor


_SPECS = {
    'autostart': _Spec(True, 'Configure and activate at startup.', read_only=True),
    'backends': _Spec(
        [''],
        'Several backends instead of `backend`, in order of preference: if one fails, the next '
        'one answers. Empty = only `backend`.',
    ),
    'model': _Spec(
        'demo', 'Name of a model profile, or path of a profile .yaml; auto = found from the files.'
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
    'cpu_threads': _Spec(0, 'Threads of the onnx backend; 0 = one for each core.', 0, 256),
    'cameras': _Spec(['camera'], 'Names of the cameras; the first one is the default.'),
    'standing_questions': _Spec(
        [''], 'Names of questions that are always answered, see docs/interfaces.md; empty = none.'
    ),
    'encode_rate': _Spec(
        1.0,
        'Most encodings per second and camera; 0 = only when a question needs one.',
        0.0, 100.0, least=1e-6, live=True,
    ),
    'history_rate': _Spec(
        1.0, 'Most frames per second and camera in the cache.', 0.01, 100.0, live=True
    ),
    'history_seconds': _Spec(
        10.0, 'Seconds that frames are cached for questions about several.', 0.0, 3600.0, live=True
    ),
    'history_mb': _Spec(
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
        'best_effort', 'QoS reliability of camera subscriptions: best_effort or reliable.',
        choices=RELIABILITIES,
    ),
}


def _specs_for(backends: Sequence[Backend]) -> dict[str, _Spec]:
    """Return all parameters except those of cameras and standing questions."""
    *others, last = (f'{backend.name} ({backend.summary})' for backend in backends)
    isolated = ', '.join(backend.name for backend in backends if backend.isolated)
    groups = {'fallback': FallbackSettings, **{b.name: b.settings for b in backends}}
    return {
        **_SPECS,
        'backend': _Spec(
            EngineSettings.backend, f'What runs the models: {", ".join(others)} or {last}.'
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
class CameraSettings:
    """One camera of the parameter `cameras`."""

    name: str
    topic: str
    transport: str  # raw or compressed


@dataclass(frozen=True)
class StandingSettings:
    """One question of the parameter `standing_questions`."""

    name: str
    question: str = option('', 'The question.')
    camera: str = option('', 'A name in cameras, or several: front,rear; empty = the first one.')
    answer_type: str = option('yes_no', 'yes_no, choice or text.')
    choices: tuple[str, ...] = option(('',), 'The allowed answers of the type choice.')
    expected: str = option(
        '', 'The choice for which the service succeeds; empty = yes, or the first one.'
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


class NodeParameters:
    """Declares the parameters on a node and reads them in the units of the code."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.locked = False  # true while a change could not take effect
        backends = all_backends(lambda error: node.get_logger().warning(str(error)))
        self._backends = {backend.name: backend for backend in backends}
        self._specs = _specs_for(backends)
        node.add_on_set_parameters_callback(self._check)  # also checks values given at startup
        for name, spec in self._specs.items():
            node.declare_parameter(name, spec.default, spec.descriptor)

    def __getitem__(self, name: str) -> Any:
        """Read a parameter by its full name: parameters['rknpu.library']."""
        return self._node.get_parameter(name).value

    @property
    def backends(self) -> tuple[str, ...]:
        """List the backends in order of preference; ValueError for unknown or repeated ones."""
        names = tuple(filter(None, self['backends']))
        if not names:
            return (self['backend'],)
        if len(set(names)) < len(names) or not self._backends.keys() >= set(names):
            raise ValueError(
                'The parameter backends must be different ones of '
                f'{", ".join(self._backends)}, not {", ".join(names)}'
            )
        return names

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

        Model, files and context belong to the first backend that is not a server.
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
                **(files if backend is local else {}),
                sampling=self.sampling,
                threads=self['cpu_threads'],
                options=self._read(backend.name, backend.settings),
            )
            for backend in chain
        ]

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn."""
        return Sampling(self['temperature'], self['top_k'], self['top_p'])

    def history_limits(self, cameras: int) -> HistoryLimits:
        """Return the limits of the cache of each camera."""
        return HistoryLimits(
            period=round(NANOSECONDS / self['history_rate']),
            span=round(self['history_seconds'] * NANOSECONDS),
            size=self['history_mb'] * 2**20 // cameras,
        )

    def cameras(self) -> list[CameraSettings]:
        """Declare the parameters of new cameras and read all; raise ValueError if one is wrong."""
        names = self._names('cameras')
        if not names:
            raise ValueError('The parameter cameras must name at least one camera')
        return [self._camera(name) for name in names]

    def _camera(self, name: str) -> CameraSettings:
        topic = self._declared(
            f'{name}.topic', _Spec(f'{name}/image_raw', 'Image topic of this camera.')
        )
        transport = self._declared(
            f'{name}.transport',
            _Spec('raw', 'raw (sensor_msgs/Image) or compressed (CompressedImage).'),
        )
        if transport not in TRANSPORTS:
            raise ValueError(f'{name}.transport must be one of {TRANSPORTS}, not {transport!r}')
        if not topic:
            raise ValueError(f'{name}.topic is empty')
        try:
            self._node.resolve_topic_name(topic)
        except RuntimeError as error:
            raise ValueError(f'{name}.topic: {error}') from error
        return CameraSettings(name, topic, transport)

    def standing(self) -> list[StandingSettings]:
        """Declare the parameters of new questions and read all; raise ValueError like cameras."""
        read = [
            self._read(f'standing.{name}', StandingSettings, name=name)
            for name in self._names('standing_questions')
        ]
        return [
            replace(each, choices=tuple(choice for choice in each.choices if choice))
            for each in read
        ]

    def _names(self, parameter: str) -> list[str]:
        names = [name for name in self[parameter] if name]
        if len(set(names)) < len(names) or not all(map(self._is_name, names)):
            raise ValueError(
                f'The parameter {parameter} must be different names of letters, digits and _, '
                f'not {names}'
            )
        return names

    def _is_name(self, name: str) -> bool:
        return name.isidentifier() and name.isascii() and name not in self._specs

    def _read(self, group: str, settings: Callable[..., S], **more: object) -> S:
        """Read a settings dataclass, each option of which is a parameter of that group."""
        values = {
            name: self._declared(f'{group}.{name}', _Spec(**vars(known)))
            for name, known in options_of(settings).items()
        }
        return settings(**more, **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        })

    def _declared(self, name: str, spec: _Spec) -> Any:
        if not self._node.has_parameter(name):
            try:
                self._node.declare_parameter(name, spec.default, spec.descriptor)
            except ParameterException as error:
                raise ValueError(str(error)) from error
        return self[name]

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        reason = next(filter(None, map(self._objection, changes)), '')
        return SetParametersResult(successful=not reason, reason=reason)

    def _objection(self, change: Parameter) -> str:
        """Say why a parameter cannot take a value; '' if it can."""
        name, value, spec = change.name, change.value, self._specs.get(change.name)
        if spec is None:
            return ''
        if self.locked and not spec.live:
            return f'{name} takes effect at configure: call cleanup first'
        if spec.choices and value not in spec.choices:
            return f'{name} must be one of {spec.choices}, not {value!r}'
        if spec.least and 0 < value < spec.least:
            return f'{name} must be 0 or at least {spec.least}, not {value}'
        return ''
