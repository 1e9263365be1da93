# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Declares the node's parameters, checks what they are set to, and reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
import difflib
import re
import reprlib
from typing import Any, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from vlm_npu_ros.engine.backends.backend import Backend
from vlm_npu_ros.engine.errors import RequestError
from vlm_npu_ros.engine.fallback import FallbackSettings
from vlm_npu_ros.engine.options import options_of
from vlm_npu_ros.engine.pulled import backend_of, find_pulled
from vlm_npu_ros.engine.registry import all_backends, find
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import Sampling
from vlm_npu_ros.node.frames import HistoryLimits, NANOSECONDS
from vlm_npu_ros.node.parameter_specs import (
    CameraQos,
    CameraSettings,
    LISTED,
    PROMPTS,
    RegionSettings,
    Spec,
    specs_for,
    StandingSettings,
)
from vlm_npu_ros.node.read_ahead import ReadAheadSettings

S = TypeVar('S')


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
        self._specs: dict[str, Spec] = {}
        node.add_on_set_parameters_callback(self._check)
        specs = specs_for(backends)
        for name, *_ in LISTED:
            specs[name] = replace(specs[name], check=self._check_names)
        specs['battery'] = replace(specs['battery'], check=self._check_topic)
        prompt = Spec('', 'A question to ask by its name, as @name.', live=True)
        specs.update((name, prompt) for name in self._given if name.startswith(PROMPTS))
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
            name.removeprefix(PROMPTS): name for name in self._specs if name.startswith(PROMPTS)
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
        return self._checked('backends') or (backend_of(EngineSettings(
            self['backend'], self['model'], self['encoder_path'], self['language_model_path'])),)

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

        changes: fields of Spec that differ from those of an option. more: fields of the
        dataclass that are no options.
        """
        specs = {
            name: Spec(**{**vars(known), **changes.get(name, {})})
            for name, known in options_of(settings).items()
        }
        self._declare({f'{group}.{name}': spec for name, spec in specs.items()})
        return settings(**more, **{name: self._checked(f'{group}.{name}') for name in specs})

    def _declare(self, specs: Mapping[str, Spec]) -> None:
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
            for parameter, prefix, suffix, settings in LISTED
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
        for parameter, prefix, suffix, settings in LISTED:
            item = owner.removeprefix(prefix).removesuffix(suffix)
            if option_name in options_of(settings) and self._is_name(item):
                return f'{parameter} does not name {item}'
        close = difflib.get_close_matches(given, known, n=1)
        return f'did you mean {close[0]}?' if close else 'there is no such parameter'
