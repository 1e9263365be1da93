from __future__ import annotations

from dataclasses import dataclass

from vlm_npu_ros.engine.options import Option, option, options_of
from vlm_npu_ros.engine.registry import all_backends


@dataclass(frozen=True)
class Settings:
    wait: float = option(1.5, 'Seconds.', 0, 9, unit='s')
    mode: str = option('fast', 'Which way.', choices=('fast', 'slow'))
    inner: int = 3


def test_fields_carry_their_options() -> None:
    assert Settings() == Settings(1.5, 'fast', 3)
    assert options_of(Settings) == {
        'wait': Option(1.5, 'Seconds.', 0, 9, unit='s'),
        'mode': Option('fast', 'Which way.', choices=('fast', 'slow')),
    }


def test_options_of_all_backends_are_sound() -> None:
    for backend in all_backends():
        for name, known in options_of(backend.settings).items():
            where = f'{backend.name}.{name}'
            assert known.about.endswith('.'), where
            assert type(known.default) in (bool, int, float, str, tuple), where
            assert (known.low is None) == (known.high is None), where
            if known.low is not None and known.high is not None:
                assert known.low <= known.default <= known.high, where
            assert not known.choices or known.default in known.choices, where
