# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import re
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    CONTENT_TYPE_LATEST,
    Counter,
    Gauge,
    generate_latest,
    Histogram,
)
from prometheus_client.core import GaugeMetricFamily
from vlm_npu_ros.client.answer import Answer
from vlm_npu_ros.gateway.source import Source

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
# Values of the diagnostics, by the names of their metrics; the label is the part.
_VALUES = {
    'questions waiting': ('vlm_queue', 'Questions that wait in the node.'),
    'restarts': ('vlm_restarts', 'Restarts of the engine.'),
    'memory of the engine, MiB': ('vlm_engine_memory_mebibytes', 'Memory of the engine.'),
    'memory of the node, MiB': ('vlm_node_memory_mebibytes', 'Memory of the node.'),
    'NPU load': ('vlm_npu_load_percent', 'Load of the NPU, the mean of its cores.'),
    'free memory, MiB': ('vlm_free_memory_mebibytes', 'Memory of the machine that is free.'),
    'frames per second': ('vlm_frames_per_second', 'Frames that arrive.'),
    'encoded per second': ('vlm_encoded_per_second', 'Frames that are encoded.'),
    'bad frames': ('vlm_bad_frames', 'Frames that could not be read.'),
    'answers': ('vlm_backend_answers', 'Answers of a backend.'),
}
_SHARE = re.compile(r'(\d+)\s*%')


class Metrics:
    """Counts questions; `page` adds what the source tells of itself."""

    def __init__(self, source: Source) -> None:
        self._registry = CollectorRegistry()
        self._questions = Counter(
            'vlm_questions', 'Questions by how they ended.', ['end'], registry=self._registry
        )
        self._open = Gauge('vlm_open_questions', 'Questions without an answer yet.',
                           registry=self._registry)
        self._first = Histogram(
            'vlm_first_token_seconds', 'From a question to the first piece of its answer.',
            buckets=_SECONDS, registry=self._registry,
        )
        self._whole = Histogram(
            'vlm_answer_seconds', 'From a question to the end of its answer.',
            buckets=_SECONDS, registry=self._registry,
        )
        self._registry.register(_OfSource(source))

    def began(self) -> None:
        """Count a question."""
        self._open.inc()

    def ended(self, answer: Answer | None) -> None:
        """Count its end; None = the client has gone."""
        self._open.dec()
        end = 'gone' if answer is None else answer.finish_reason if answer.ok else (
            f'error_{answer.error_code}')
        self._questions.labels(end).inc()

    def first_token(self, seconds: float) -> None:
        """Note the first piece of an answer."""
        self._first.observe(seconds)

    def whole(self, seconds: float) -> None:
        """Note the end of an answer."""
        self._whole.observe(seconds)

    def page(self) -> bytes:
        """Write all of it in the format of Prometheus."""
        return generate_latest(self._registry)


class _OfSource:
    """What the source tells when it is asked; a collector of prometheus_client."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the families."""
        state = self._source.state()
        yield GaugeMetricFamily(
            'vlm_ready', 'Whether questions are answered.', float(state['ready'])
        )
        for key, (name, about) in _VALUES.items():
            family = GaugeMetricFamily(name, about, labels=['part'])
            for part in state['parts']:
                value = _number(part['values'], key)
                if value is not None:
                    family.add_metric([part['name']], value)
            if family.samples:
                yield family


def _number(values: Mapping[str, Any], key: str) -> float | None:
    """Read a number, or the mean of those in `Core0: 12%, Core1: 0%`."""
    try:
        return float(values[key])
    except KeyError:
        return None
    except ValueError:
        shares = list(map(float, _SHARE.findall(values[key])))
        return sum(shares) / len(shares) if shares else None
