"""
The node's parameters: names, defaults, limits and what they are for.

config/vlm.yaml shows the same to a person; a test keeps the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings, TYPED
from vlm_npu_ros.engine.backends.rknpu.settings import RknpuSettings
from vlm_npu_ros.engine.backends.scripted import ScriptedTimings
from vlm_npu_ros.engine.fallback import FallbackSettings
from vlm_npu_ros.engine.loading import EngineSettings
from vlm_npu_ros.engine.types import Sampling
from vlm_npu_ros.node.frames import HistoryLimits, NANOSECONDS

TRANSPORTS = ('raw', 'compressed')
RELIABILITIES = ('best_effort', 'reliable')
BUSY = ('queue', 'reject', 'interrupt')
BACKENDS = ('onnx', 'rknpu', 'openai', 'scripted')
ISOLATIONS = ('auto', 'process', 'none')
_CHOICES = {
    'image_reliability': RELIABILITIES, 'isolation': ISOLATIONS, 'busy': BUSY,
    'openai.typed': TYPED,
}


@dataclass(frozen=True)
class _Spec:
    """
    One parameter; `live` ones may be set at any time, others take effect at configure.

    least: what a value that is not 0 must be at least; what it is divided by stays finite.
    """

    default: Any
    about: str
    low: float | None = None
    high: float | None = None
    least: float = 0.0
    live: bool = False
    read_only: bool = False

    @property
    def descriptor(self) -> ParameterDescriptor:
        """Return the ROS descriptor."""
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
    'autostart': _Spec(True, 'Configure and activate without being told to.', read_only=True),
    'backend': _Spec(
        'onnx',
        'What runs the models: onnx (CPU), rknpu (Rockchip), openai (a server) or scripted (given '
        'answers).',
    ),
    'backends': _Spec(
        [''],
        'Several backends instead of `backend`, in order of preference: where one fails, the next '
        'one answers. Empty = only `backend`.',
    ),
    'fallback.first_token': _Spec(
        10.0,
        'Seconds that a backend may take to begin an answer, before the next one is asked; 0 = as '
        'long as it takes.',
        0.0, 86400.0, least=0.001,
    ),
    'fallback.failures': _Spec(
        3, 'Failures in a row after which a backend is left alone.', 1, 1000
    ),
    'fallback.retry_after': _Spec(
        5.0, 'Seconds until it is tried again; doubled after each vain attempt, up to 60.',
        0.001, 3600.0,
    ),
    'model': _Spec(
        'demo', 'Name of a model profile, or path of a profile .yaml; auto = as the files say.'
    ),
    'encoder_path': _Spec('', 'Vision encoder file; empty = the one of the profile.'),
    'language_model_path': _Spec('', 'Language model file; empty = the one of the profile.'),
    'context': _Spec(0, 'Context in tokens; 0 = what the profile says.', 0, 16384),
    'isolation': _Spec(
        'auto',
        'Where the models run: process (of their own, started anew after a crash), none (in the '
        'node), or auto: process for rknpu, none for the others.',
    ),
    'watchdog': _Spec(
        1.0,
        'Factor on the time limits after which a silent engine in a process of its own counts as '
        'hung: 10 s a token, 30 s an encoding.',
        0.001, 1000.0,
    ),
    'cpu_threads': _Spec(0, 'Threads of the onnx backend; 0 = one for each core.', 0, 256),
    'cameras': _Spec(['camera'], 'Names of the cameras; the first one is the default.'),
    'standing_questions': _Spec(
        [''], 'Names of questions that are always answered, see docs/interfaces.md; empty = none.'
    ),
    'encode_rate': _Spec(
        1.0,
        'Encodings per second and camera, at most; 0 = only when a question needs one.',
        0.0, 100.0, least=1e-6, live=True,
    ),
    'history_rate': _Spec(
        1.0, 'Frames per second and camera that are kept, at most.', 0.01, 100.0, live=True
    ),
    'history_seconds': _Spec(
        10.0, 'Seconds that frames are kept for questions about several.', 0.0, 3600.0, live=True
    ),
    'history_mb': _Spec(
        256, 'Memory for kept frames, MiB, shared by all cameras.', 0, 65536, live=True
    ),
    'max_age': _Spec(
        5.0, 'Oldest frame, in seconds, to answer from.', 0.001, 86400.0, live=True
    ),
    'timeout': _Spec(
        60.0, 'Seconds for one answer, waiting included.', 0.001, 86400.0, live=True
    ),
    'queue_size': _Spec(
        8, 'Questions that may wait behind the one being answered.', 0, 1000, live=True
    ),
    'busy': _Spec(
        'queue',
        'What a question does that meets others: queue (wait), reject (end itself) or interrupt '
        '(end them).',
        live=True,
    ),
    'max_new_tokens': _Spec(128, 'Longest answer in tokens.', 1, 16384, live=True),
    'min_confidence': _Spec(
        0.5, 'A choice less likely than this is unclear, where the backend tells.',
        0.0, 1.0, live=True,
    ),
    'conversations': _Spec(16, 'Dialogues that are remembered.', 1, 10000, live=True),
    'conversation_idle': _Spec(
        600.0, 'Seconds without an answer after which a dialogue is forgotten.',
        1.0, 86400.0, live=True,
    ),
    'conversation_tokens': _Spec(
        0, 'Tokens of a dialogue, images included; 0 = what the context holds.',
        0, 16384, live=True,
    ),
    'temperature': _Spec(
        0.0, 'Randomness of answers; 0 = always the likeliest token.', 0.0, 5.0, least=0.001,
        live=True,
    ),
    'top_k': _Spec(40, 'Draw among this many likeliest tokens; 0 = all.', 0, 100000, live=True),
    'top_p': _Spec(
        0.95, 'Draw among the tokens with this share of probability.', 0.0, 1.0, live=True
    ),
    'image_reliability': _Spec(
        'best_effort', 'QoS reliability of camera subscriptions: best_effort or reliable.'
    ),
    'rknpu.library': _Spec(
        'librkllmrt.so', 'Runtime of the language model: name of a library, or path.'
    ),
    'rknpu.runtime_version': _Spec(
        '', 'Version to take that library for; empty = as its file says.'
    ),
    'rknpu.allow_third_party': _Spec(
        False, 'Accept a runtime whose layout only a third party has published (1.3.1).'
    ),
    'rknpu.base_domain_id': _Spec(-1, 'NPU address space; -1 = as the platform needs.', -1, 15),
    'rknpu.cpu_mask': _Spec(
        0, 'CPUs of the runtime, bit 0 = CPU 0; 0 = the fast ones of the platform.', 0, 255
    ),
    'rknpu.embed_flash': _Spec(
        True, 'Read word embeddings from storage: less memory, a little slower.'
    ),
    'rknpu.keep_tokens': _Spec(
        0, 'Tokens at the start that stay when the context overflows.', 0, 16384
    ),
    'rknpu.core_mask': _Spec(
        -1, 'NPU cores of the encoder, 7 = all three; -1 = as the platform has.', -1, 65535
    ),
    'openai.base_url': _Spec(
        'http://127.0.0.1:8080/v1', 'Server of chat completions, with /v1 where it has that.'
    ),
    'openai.model': _Spec('', 'Model, as the server names it; empty = the only one it has.'),
    'openai.api_key_env': _Spec(
        'OPENAI_API_KEY', 'Environment variable with the key of the server; unset = none.'
    ),
    'openai.api_key_file': _Spec(
        '', 'File with that key instead; only its owner may be able to read it.'
    ),
    'openai.connect_timeout': _Spec(
        5.0, 'Seconds for one attempt to connect.', 0.001, 3600.0
    ),
    'openai.first_token_timeout': _Spec(
        30.0, 'Seconds until an answer begins, all attempts included.', 0.001, 3600.0
    ),
    'openai.token_timeout': _Spec(
        10.0, 'Seconds between two pieces of an answer.', 0.001, 3600.0
    ),
    'openai.retries': _Spec(2, 'Further attempts where an answer has not begun.', 0, 100),
    'openai.image_size': _Spec(
        768, 'Longer side of the pictures that are sent, in pixels.', 16, 16384
    ),
    'openai.jpeg_quality': _Spec(85, 'Quality of the pictures that are sent.', 1, 100),
    'openai.typed': _Spec(
        'auto',
        'How yes/no and choice are decided: logprobs, json_schema, parse (reading the answer), '
        'or auto: the first of these that the server has.',
    ),
    'scripted.answers': _Spec(
        ['I see what I was told to see.'], 'Answers of the scripted backend, given in turn.'
    ),
    'scripted.encode_seconds': _Spec(0.0, 'Time of one encoding.', 0.0, 3600.0),
    'scripted.prefill_rate': _Spec(
        0.0, 'Prompt tokens per second; 0 = at once.', 0.0, 1e9, least=0.001
    ),
    'scripted.decode_rate': _Spec(
        0.0, 'New tokens per second; 0 = at once.', 0.0, 1e9, least=0.001
    ),
    'scripted.image_tokens': _Spec(64, 'Tokens of one image.', 1, 100000),
}


@dataclass(frozen=True)
class CameraSettings:
    """One camera of the parameter `cameras`."""

    name: str
    topic: str
    transport: str  # raw or compressed


@dataclass(frozen=True)
class StandingSettings:
    """
    One question of the parameter `standing_questions`.

    expected: the choice that makes its service succeed; '' = yes, or the first one.
    period, max_age: seconds. agreeing: equal answers in a row that confirm it.
    """

    name: str
    question: str
    camera: str
    answer_type: str
    choices: tuple[str, ...]
    expected: str
    period: float
    max_age: float
    agreeing: int
    min_confidence: float


_STANDING = {
    'question': _Spec('', 'What is asked.'),
    'camera': _Spec('', 'As in cameras, or several: front,rear; empty = the first one.'),
    'answer_type': _Spec('yes_no', 'yes_no, choice or text.'),
    'choices': _Spec([''], 'The allowed answers of the type choice.'),
    'expected': _Spec(
        '', 'The choice that makes the service succeed; empty = yes, or the first one.'
    ),
    'period': _Spec(
        1.0, 'Seconds between two looks; 0 = at each new embedding.', 0.0, 86400.0
    ),
    'max_age': _Spec(
        5.0, 'Age of the frame, in seconds, up to which the service succeeds.', 0.001, 86400.0
    ),
    'agreeing': _Spec(1, 'Equal answers in a row that confirm it.', 1, 1000),
    'min_confidence': _Spec(
        0.0, 'A choice less likely than this is unclear; 0 = parameter min_confidence.', 0.0, 1.0
    ),
}


class NodeParameters:
    """Declares the parameters on a node and reads them in the units of the code."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.locked = False  # true while a change could not take effect
        node.add_on_set_parameters_callback(self._check)  # of what is given at start, too
        for name, spec in _SPECS.items():
            node.declare_parameter(name, spec.default, spec.descriptor)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a parameter."""
        return self._node.get_parameter(name).value

    @property
    def backends(self) -> tuple[str, ...]:
        """Return the backends in order of preference; raise ValueError for names that are none."""
        names = tuple(filter(None, self['backends']))
        if not names:
            return (self['backend'],)
        if len(set(names)) < len(names) or not set(names) <= set(BACKENDS):
            raise ValueError(
                f'The parameter backends must be different ones of {", ".join(BACKENDS)}, '
                f'not {", ".join(names)}'
            )
        return names

    def isolated(self, backend: str) -> bool:
        """Return whether a backend gets a process of its own; raise ValueError if it can not."""
        isolation = self['isolation']
        if isolation == 'process' and self.backends == ('openai',):
            raise ValueError('isolation must be auto or none: the server is a process of its own')
        if backend == 'openai':
            return False
        return bool(isolation == 'process' or isolation == 'auto' and backend == 'rknpu')

    @property
    def fallback(self) -> FallbackSettings:
        """Return when another backend is asked."""
        return FallbackSettings(
            **{field.name: self[f'fallback.{field.name}'] for field in fields(FallbackSettings)}
        )

    @property
    def sampling(self) -> Sampling:
        """Return how tokens are drawn."""
        return Sampling(self['temperature'], self['top_k'], self['top_p'])

    @property
    def engines(self) -> list[EngineSettings]:
        """
        Return what to load, in order of preference.

        Model, its files and context belong to the first backend that is no server.
        """
        names, given = self.backends, self.engine
        local = next((name for name in names if name != 'openai'), names[0])
        return [
            replace(given, backend=name) if name == local else
            replace(
                given, backend=name, model='demo', encoder_path='', language_model_path='',
                context=0,
            )
            for name in names
        ]

    @property
    def engine(self) -> EngineSettings:
        """Return what to load for the parameter `backend`."""
        timings = ScriptedTimings(
            encode_seconds=self['scripted.encode_seconds'],
            prefill_rate=self['scripted.prefill_rate'] or float('inf'),
            decode_rate=self['scripted.decode_rate'] or float('inf'),
            image_tokens=self['scripted.image_tokens'],
        )
        return EngineSettings(
            backend=self['backend'],
            model=self['model'],
            encoder_path=self['encoder_path'],
            language_model_path=self['language_model_path'],
            context=self['context'],
            sampling=self.sampling,
            rknpu=RknpuSettings(
                **{field.name: self[f'rknpu.{field.name}'] for field in fields(RknpuSettings)}
            ),
            openai=OpenAISettings(
                **{field.name: self[f'openai.{field.name}'] for field in fields(OpenAISettings)}
            ),
            threads=self['cpu_threads'],
            answers=tuple(self['scripted.answers']),
            timings=timings,
        )

    def history_limits(self, cameras: int) -> HistoryLimits:
        """Return what is kept of each of so many cameras."""
        return HistoryLimits(
            period=round(NANOSECONDS / self['history_rate']),
            span=round(self['history_seconds'] * NANOSECONDS),
            size=self['history_mb'] * 2**20 // cameras,
        )

    def cameras(self) -> list[CameraSettings]:
        """
        Return the cameras, declaring the parameters of new ones.

        Raises ValueError with what is wrong.
        """
        names = list(self['cameras'])
        if not names or len(set(names)) < len(names) or not all(map(_is_name, names)):
            raise ValueError(
                f'The parameter cameras must be different names of letters, digits and _, '
                f'not {names}'
            )
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
        """
        Return the standing questions, declaring the parameters of new ones.

        Raises ValueError with what is wrong.
        """
        names = [name for name in self['standing_questions'] if name]
        if len(set(names)) < len(names) or not all(map(_is_name, names)):
            raise ValueError(
                f'The parameter standing_questions must be different names of letters, digits '
                f'and _, not {names}'
            )
        return [self._standing(name) for name in names]

    def _standing(self, name: str) -> StandingSettings:
        values = {
            key: self._declared(f'standing.{name}.{key}', spec) for key, spec in _STANDING.items()
        }
        values['choices'] = tuple(choice for choice in values['choices'] if choice)
        return StandingSettings(name=name, **values)

    def _declared(self, name: str, spec: _Spec) -> Any:
        if not self._node.has_parameter(name):
            try:
                self._node.declare_parameter(name, spec.default, spec.descriptor)
            except ParameterException as error:
                raise ValueError(str(error)) from error
        return self[name]

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            spec = _SPECS.get(change.name)
            if self.locked and spec is not None and not spec.live:
                return SetParametersResult(
                    successful=False,
                    reason=f'{change.name} takes effect at configure: clean the node up first',
                )
            choices = _CHOICES.get(change.name, (change.value,))
            if change.value not in choices:
                return SetParametersResult(
                    successful=False,
                    reason=f'{change.name} must be one of {choices}, not {change.value!r}',
                )
            if spec is not None and spec.least and 0 < change.value < spec.least:
                return SetParametersResult(
                    successful=False,
                    reason=f'{change.name} must be 0, or {spec.least} or more, not {change.value}',
                )
        return SetParametersResult(successful=True)


def _is_name(name: str) -> bool:
    return name.isidentifier() and name.isascii() and name not in _SPECS
