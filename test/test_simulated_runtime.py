# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""
The simulated RKLLM runtime itself, asked by a C program and never through our own binding.

Where nothing else is said, 1.2.3 stands for all versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
import re
import shutil
import signal
import subprocess
import time
from typing import Any

from answers import text_of
import numpy as np
import pytest
from simulated.runtime import ABI_CLASS, build, build_driver, SOURCES, VERSIONS
from simulated.weights import write_model
from vlm_npu_ros.demo.questions import random_question
from vlm_npu_ros.demo.scenes import random_scene, render
from vlm_npu_ros.engine.backends.onnx.encoder import OnnxEncoder
from vlm_npu_ros.engine.backends.onnx.language_model import OnnxLanguageModel
from vlm_npu_ros.engine.share import share_dir
from vlm_npu_ros.engine.types import GenerationRequest, ImageEmbedding

ONE_OF_EACH_CLASS = ('1.1.4', '1.2.0', '1.2.1b1', '1.2.3', '1.3.0', '1.3.1')
TOKENS = 64

COMMON = set('createDefaultParam init load_lora load_prompt_cache release_prompt_cache destroy '
             'run run_async abort is_running'.split())
SINCE_B = COMMON | {'clear_kv_cache', 'set_chat_template'}
SINCE_D = SINCE_B | {'get_kv_cache_size', 'set_function_tools', 'set_cross_attn_params'}
FUNCTIONS = {'A': COMMON, 'B': SINCE_B, 'C': SINCE_B, 'D': SINCE_D, 'E': SINCE_D, 'F': SINCE_D}


@dataclass(frozen=True)
class Event:
    state: str
    token: int
    text: bytes
    figures: tuple[int, ...]  # FINISH: tokens read and written


@dataclass(frozen=True)
class Said:
    """What the driver printed: the events of each run and what the run returned."""

    code: int
    log: str
    init: int
    runs: list[list[Event]]
    returned: list[int]
    cached: list[int]

    @property
    def texts(self) -> list[str]:
        return [b''.join(e.text for e in run if e.state == 'NORMAL').decode() for run in self.runs]

    @property
    def states(self) -> list[list[str]]:
        return [[event.state for event in run] for run in self.runs]


def read(done: subprocess.CompletedProcess[str]) -> Said:
    init, runs, returned, cached = -2, [[]], [], []
    for line in done.stdout.splitlines():
        word, number, *rest = line.split(' ')
        if word == 'init':
            init = int(number)
        elif word == 'run':
            returned.append(int(number))
            cached += map(int, rest)
            runs.append([])
        else:
            figures = tuple(map(int, rest[1:]))
            runs[-1].append(Event(word, int(number), bytes.fromhex(rest[0]), figures))
    return Said(done.returncode, done.stderr, init, runs[:len(returned) or 1], returned, cached)


@pytest.fixture(scope='module')
def driver(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the driver for a version, beside its library."""
    folder = tmp_path_factory.mktemp('runtimes')

    def built(version: str) -> Path:
        program = folder / version / 'driver'
        return program if program.exists() else build_driver(version, build(version, folder))
    return built


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp('models') / 'demo.rkllm')


@pytest.fixture
def ask(driver: Callable[[str], Path], model: Path, tmp_path: Path) -> Callable[..., Said]:
    """Return a function that asks questions; environment variables are keyword arguments."""
    def ask(
        *prompts: str,
        images: np.ndarray | None = None,
        version: str = '1.2.3',
        limit: int = 40,
        path: Path = model,
        tags: tuple[str, str, str] = ('', '<user>', '<image>'),
        **environment: Any,
    ) -> Said:
        file = tmp_path / 'embeddings.bin'
        if images is not None:
            images.tofile(file)
        return read(subprocess.run(
            [driver(version), path, file if images is not None else '', str(TOKENS), str(limit),
             *tags, *prompts],
            capture_output=True, text=True, timeout=60,
            env={name: str(value) for name, value in environment.items()},
        ))
    return ask


@dataclass(frozen=True)
class Asked:
    question: str
    image: np.ndarray  # (64, 1, 128) float32
    answer: str


@pytest.fixture(scope='module')
def asked() -> list[Asked]:
    folder = share_dir() / 'resource' / 'demo_model'
    encoder = OnnxEncoder(folder / 'vision_encoder.onnx', 1)
    onnx = OnnxLanguageModel(
        'demo', folder / 'language_model.onnx', folder / 'tokenizer.json', 512, 1
    )
    rng = np.random.default_rng(5)

    def ask_one() -> Asked:
        scene = random_scene(rng)
        question = random_question(scene, rng).text
        image = encoder.encode(render(scene))
        request = GenerationRequest(question, (ImageEmbedding(image, 0.0),), 40)
        answer = text_of(onnx, request)
        return Asked(question, image, answer)
    return [ask_one() for _ in range(6)]


def one(asked: list[Asked]) -> tuple[str, np.ndarray]:
    return '<image>' + asked[0].question, asked[0].image


# --- the file ---


@pytest.mark.parametrize('version', ONE_OF_EACH_CLASS)
def test_exports_the_functions_of_its_class_and_no_others(
    driver: Callable[[str], Path], version: str
) -> None:
    data = driver(version).with_name('librkllmrt.so').read_bytes()
    names = re.findall(rb'(?<=\0)rkllm_\w+(?=\0)', data)
    expected = {f'rkllm_{name}' for name in FUNCTIONS[ABI_CLASS[version]]}
    assert {name.decode() for name in names} == expected


@pytest.mark.parametrize('version', ONE_OF_EACH_CLASS)
def test_the_version_marker_is_there_since_1_2_0(
    driver: Callable[[str], Path], version: str
) -> None:
    data = driver(version).with_name('librkllmrt.so').read_bytes()
    marker = re.compile(
        rb'RKLLM SDK \(version: ([0-9][0-9A-Za-z.\-]*) \| target: (\w+) \| build:'
    )
    found = [m[1].decode() for m in marker.finditer(data)]
    assert found == ([] if ABI_CLASS[version] == 'A' else [version])


def test_every_class_is_among_the_versions() -> None:
    assert {ABI_CLASS[v] for v in ONE_OF_EACH_CLASS} == set(ABI_CLASS.values()) == set('ABCDEF')
    assert set(VERSIONS) >= set(ONE_OF_EACH_CLASS)


@pytest.mark.parametrize('version', ['1.1.0', '1.2.1', '1.3.1'])
@pytest.mark.skipif(not shutil.which('aarch64-linux-gnu-gcc'), reason='no cross-compiler')
def test_compiles_for_the_board(tmp_path: Path, version: str) -> None:
    library = build(version, tmp_path, 'aarch64-linux-gnu-gcc')
    assert library == tmp_path / version / 'librkllmrt.so'
    assert library.read_bytes()[18:20] == (183).to_bytes(2, 'little')


@pytest.mark.parametrize('abi', sorted(set(ABI_CLASS.values())))
@pytest.mark.parametrize('name', sorted(p.name for p in SOURCES.glob('*.c')))
def test_compiles_without_warnings(abi: str, name: str) -> None:
    done = subprocess.run(
        ['cc', '-std=gnu11', '-fsyntax-only', '-Wall', '-Wextra', f"-DRKLLM_ABI='{abi}'",
         '-DRKLLM_VERSION="1"', SOURCES / name],
        capture_output=True, text=True,
    )
    assert (done.returncode, done.stderr) == (0, '')


def test_what_the_compiler_says_is_in_the_error(tmp_path: Path) -> None:
    compiler = tmp_path / 'compiler'
    compiler.write_text('#!/bin/sh\necho it is broken >&2\nexit 1\n')
    compiler.chmod(0o755)
    with pytest.raises(RuntimeError, match='it is broken'):
        build('1.3.0', tmp_path, str(compiler))


# --- answers ---


@pytest.mark.parametrize('version', ONE_OF_EACH_CLASS)
def test_answers_as_the_onnx_backend(
    ask: Callable[..., Said], asked: list[Asked], version: str
) -> None:
    # 1.1.x has no chat template: the caller writes it.
    postfix = '<assistant>' if ABI_CLASS[version] == 'A' else ''
    said = ask(
        *(f'<image>{a.question}{postfix}' for a in asked),
        images=np.stack([a.image for a in asked]), version=version,
    )
    assert said.texts == [a.answer for a in asked]
    assert said.returned == [0] * len(asked)
    assert said.code == 0
    assert all(run[-1].state == 'FINISH' for run in said.runs)


def test_finish_says_how_many_tokens_were_read_and_written(
    ask: Callable[..., Said], asked: list[Asked]
) -> None:
    prompt, image = one(asked)
    said = ask(prompt, images=image)
    (run,), (cached,) = said.runs, said.cached
    read_tokens, written = run[-1].figures
    assert written == len(run) - 1
    assert cached == read_tokens + written
    assert read_tokens > TOKENS


def test_of_several_outputs_the_first_of_each_token_is_read(
    ask: Callable[..., Said], asked: list[Asked], tmp_path: Path
) -> None:
    prompt, image = one(asked)
    others = np.random.default_rng(1).normal(size=(TOKENS, 3, 128)).astype(np.float32)
    said = ask(
        prompt, images=np.concatenate((image, others), 1),
        path=write_model(tmp_path / 'deep.rkllm', outputs=4),
    )
    assert said.texts == [asked[0].answer]


def test_a_prompt_without_an_image(ask: Callable[..., Said]) -> None:
    said = ask('<user>what do you see?')
    assert said.returned == [0]
    assert said.texts[0]
    assert said.runs[0][-1].figures[0] < 10


@pytest.mark.parametrize('version', ['1.2.0', '1.3.0'])
def test_a_chat_template_that_is_set_replaces_the_one_of_the_model(
    ask: Callable[..., Said], asked: list[Asked], tmp_path: Path, version: str
) -> None:
    prompt, image = one(asked)
    path = write_model(tmp_path / 'bare.rkllm', system='<user>', prefix='<user>', postfix='what?')
    settings = {'images': image, 'path': path, 'version': version}
    assert ask(prompt, **settings).texts != [asked[0].answer]
    assert ask(prompt, **settings, DRIVER_POSTFIX='<assistant>').texts == [asked[0].answer]


def test_the_prompt_is_lower_cased_where_the_model_says_so(
    ask: Callable[..., Said], asked: list[Asked], tmp_path: Path
) -> None:
    prompt, image = '<image>' + asked[0].question.upper(), asked[0].image
    path = write_model(tmp_path / 'cased.rkllm', lowercase=False)
    assert ask(prompt, images=image).texts == [asked[0].answer]
    lengths = [
        ask(prompt, images=image, **more).runs[0][-1].figures[0] for more in ({}, {'path': path})
    ]
    assert lengths[0] < lengths[1]  # capitals are bytes


def test_special_tokens_are_read_in_the_question_too(ask: Callable[..., Said]) -> None:
    lengths = [ask(p).runs[0][-1].figures[0] for p in ('a', 'a<user><eos>', 'a<USER>')]
    assert lengths[1] == lengths[0] + 2
    assert lengths[2] > lengths[0] + 1


def test_history_is_kept_if_asked_to_and_until_cleared(ask: Callable[..., Said]) -> None:
    prompts = ['<user>what do you see?'] * 2
    forgets = ask(*prompts).cached
    keeps = ask(*prompts, DRIVER_KEEP_HISTORY=1).cached
    cleared = ask(*prompts, DRIVER_KEEP_HISTORY=1, DRIVER_CLEAR=1).cached
    assert forgets[0] == forgets[1] == keeps[0]
    assert keeps[1] > keeps[0] + 5
    assert cleared == forgets


@pytest.mark.parametrize('version', ['1.2.3', '1.3.1'])
def test_a_run_in_a_thread(ask: Callable[..., Said], asked: list[Asked], version: str) -> None:
    prompt, image = one(asked)
    said = ask(prompt, images=image, version=version, DRIVER_ASYNC=1)
    assert (said.texts, said.returned) == ([asked[0].answer], [0])


def test_a_high_temperature_makes_answers_differ(
    ask: Callable[..., Said], asked: list[Asked]
) -> None:
    prompt, image = one(asked)
    said = ask(*[prompt] * 3, images=np.stack([image] * 3), DRIVER_TEMPERATURE=100)
    tokens = [[event.token for event in run] for run in said.runs]
    assert tokens[0] != tokens[1] != tokens[2]


def test_a_low_temperature_makes_them_likely(ask: Callable[..., Said], asked: list[Asked]) -> None:
    prompt, image = one(asked)
    said = ask(prompt, images=image, DRIVER_TEMPERATURE=0.001)
    assert said.texts == [asked[0].answer]


def test_a_split_character_waits(ask: Callable[..., Said]) -> None:
    said = ask('a', SIMRKLLM_ANSWER='é€!')
    assert [(e.state, e.text) for e in said.runs[0]] == [
        ('WAITING', b''), ('NORMAL', 'é'.encode()),
        ('WAITING', b''), ('WAITING', b''), ('NORMAL', '€'.encode()),
        ('NORMAL', b'!'), ('FINISH', b''),
    ]


# --- the callback and abort ---


def test_abort_ends_with_finish(ask: Callable[..., Said]) -> None:
    said = ask('a', DRIVER_ABORT_AT=3, SIMRKLLM_ENDLESS=1, SIMRKLLM_ANSWER='a')
    assert said.states == [['NORMAL'] * 3 + ['FINISH']]
    assert said.returned == [0]


def test_abort_while_the_prompt_is_read(ask: Callable[..., Said]) -> None:
    said = ask('a', DRIVER_ABORT_AT=0, SIMRKLLM_PREFILL_RATE=0.001)
    assert (said.states, said.returned) == ([['FINISH']], [0])


def test_abort_while_the_prompt_is_read_may_be_forgotten(ask: Callable[..., Said]) -> None:
    said = ask(
        'a', DRIVER_ABORT_AT=0, SIMRKLLM_PREFILL_RATE=10, SIMRKLLM_ABORT_IGNORES_PREFILL=1,
        SIMRKLLM_ANSWER='a',
    )
    assert said.states == [['NORMAL', 'FINISH']]


@pytest.mark.parametrize(('version', 'returned', 'states', 'status'), [
    ('1.2.0', 1, ['NORMAL', 'NORMAL', 'FINISH'], 0),  # returns nothing
    ('1.2.3', 1, ['NORMAL'], 0),
    ('1.2.3', 2, ['NORMAL'], -1),
    ('1.3.0', 1, ['NORMAL'], 0),
    ('1.3.0', 2, ['NORMAL', 'NORMAL', 'FINISH'], 0),
    ('1.3.0', 10587376, ['NORMAL'], -1),
])
def test_what_the_callback_returns(
    ask: Callable[..., Said], version: str, returned: int, states: list[str], status: int
) -> None:
    said = ask('a', version=version, DRIVER_RETURN=returned, SIMRKLLM_ANSWER='ab', limit=2)
    assert (said.states, said.returned) == ([states], [status])


# --- what cannot be loaded ---


@pytest.fixture
def bad_file(tmp_path: Path) -> Path:
    path = tmp_path / 'bad.rkllm'
    path.write_bytes(b'GGUF' * 8)
    return path


def cut_off(tmp_path: Path, model: Path) -> Path:
    path = tmp_path / 'cut.rkllm'
    path.write_bytes(model.read_bytes()[:-4])
    return path


def files_and_complaints(tmp_path: Path, model: Path) -> Iterator[tuple[Path, str]]:
    yield tmp_path / 'none', "failed to open '"
    yield cut_off(tmp_path, model), 'invalid rkllm model!'
    yield write_model(tmp_path / 'a', platform='rk3576'), 'target platform'
    yield write_model(tmp_path / 'b', toolkit='1.3.0'), 'lower than the rkllm-toolkit version'
    yield (
        write_model(tmp_path / 'c', context_limit=256),
        "max_context[512] must be less than the model's max_context_limit[256]",
    )


def test_bad_files_are_refused(
    ask: Callable[..., Said], bad_file: Path, tmp_path: Path, model: Path
) -> None:
    said = ask('a', path=bad_file)
    assert (said.init, said.code) == (-1, 1)
    assert 'E rkllm: invalid rkllm model!' in said.log
    assert 'invalid magic number, got 46554747' in said.log
    for path, complaint in files_and_complaints(tmp_path, model):
        said = ask('a', path=path)
        assert (said.init, complaint in said.log) == (-1, True), said.log


@pytest.mark.parametrize(('runtime', 'toolkit', 'status'), [
    ('1.2.3', '1.2.3', 0), ('1.2.3', '1.1.4', 0), ('1.2.1b1', '1.2.1', -1),
    ('1.2.3', '1.2.1b1', 0), ('1.3.0', '1.2.3', 0), ('1.3.0', '1.3.1', -1),
    ('1.3.0', '1.10.0', -1),
])
def test_a_toolkit_may_be_as_new_as_the_runtime(
    ask: Callable[..., Said], tmp_path: Path, runtime: str, toolkit: str, status: int
) -> None:
    path = write_model(tmp_path / 'a.rkllm', toolkit=toolkit)
    assert ask('a', version=runtime, path=path).init == status


def test_1_1_x_takes_a_bad_file_and_crashes_at_the_first_run(
    ask: Callable[..., Said], bad_file: Path, tmp_path: Path
) -> None:
    said = ask('a', version='1.1.4', path=bad_file)
    assert (said.init, said.returned, said.code) == (0, [], -signal.SIGABRT)
    assert 'E RKNN: invalid rknn llm model magic' in said.log
    assert 'rknn_init fail! ret=-1' in said.log
    assert ask('a', version='1.1.4', path=tmp_path / 'none').init == -1


def test_the_log_names_version_driver_and_platform(ask: Callable[..., Said]) -> None:
    line = 'I rkllm: rkllm-runtime version: {}, rknpu driver version: {}, platform: RK3588\n'
    assert line.format('1.3.0', '0.9.8') in ask('a', version='1.3.0').log
    said = ask('a', version='1.3.0', SIMRKLLM_VERSION='1.2.2', SIMRKLLM_DRIVER='0.9.6')
    assert line.format('1.2.2', '0.9.6') in said.log
    assert 'I rkllm: simulated runtime' in said.log


# --- wrong requests ---


@pytest.mark.parametrize(('prompt', 'tags'), [
    ('what is this?', ('', '', '<image>')),
    ('<image><image>what is this?', ('', '', '<image>')),
    ('<image>what is this?', ('', '', '')),
    ('<image>what is this?', ('', '', '<image><image>')),
])
@pytest.mark.parametrize('version', ['1.2.1b1', '1.2.3', '1.3.0'])
def test_wrong_images_are_an_error(
    ask: Callable[..., Said],
    asked: list[Asked],
    version: str,
    prompt: str,
    tags: tuple[str, str, str],
) -> None:
    said = ask(prompt, images=asked[0].image, tags=tags, version=version)
    assert (said.states, said.returned) == ([['ERROR']], [-1])


@pytest.mark.parametrize('version', ['1.1.4', '1.2.3', '1.3.0'])
def test_more_than_the_context_holds_is_a_crash_before_1_3_1(
    ask: Callable[..., Said], version: str
) -> None:
    said = ask('a ' * 600, version=version)
    assert (said.returned, said.code) == ([], -signal.SIGABRT)


def test_more_than_the_context_holds_is_refused_since_1_3_1(ask: Callable[..., Said]) -> None:
    said = ask('a ' * 600, 'b', version='1.3.1', SIMRKLLM_ANSWER='c')
    assert (said.states[0], said.returned[0], said.code) == ([], -1, 0)


@pytest.mark.parametrize('version, code', [('1.1.4', -signal.SIGABRT), ('1.3.1', 0)])
def test_answer_that_fills_the_context_is_a_crash_before_1_3_1(
    ask: Callable[..., Said], version: str, code: int
) -> None:
    said = ask('a', version=version, limit=600, SIMRKLLM_ANSWER='c ' * 600)
    assert said.code == code


# --- misbehaviour that is asked for ---


@pytest.mark.parametrize(('fault', 'states', 'status'), [
    ('RUN_FAIL', [], -1),
    ('SILENT', [], 0),
    ('ERROR_AT', ['ERROR'], -1),
])
def test_failures_that_are_asked_for(
    ask: Callable[..., Said], fault: str, states: list[str], status: int
) -> None:
    said = ask('a', **{f'SIMRKLLM_{fault}': 1})
    assert (said.states, said.returned) == ([states], [status])


def test_init_may_fail(ask: Callable[..., Said]) -> None:
    assert ask('a', SIMRKLLM_INIT_FAIL=1).init == -1


def test_a_crash_at_a_token(ask: Callable[..., Said]) -> None:
    said = ask('a', SIMRKLLM_SEGV_AT=3, SIMRKLLM_ANSWER='!!!!')
    assert (said.states, said.code) == ([['NORMAL'] * 2], -signal.SIGSEGV)


def test_a_hang_at_a_token(driver: Callable[[str], Path], model: Path) -> None:
    process = subprocess.Popen(
        [driver('1.2.3'), model, '', '64', '9', '', '', '<image>', 'a'], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
        env={'SIMRKLLM_HANG_AT': '2', 'SIMRKLLM_ANSWER': '!!!'},
    )
    with process:
        lines = [process.stdout.readline() for _ in range(2)]
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()
    assert [line.split()[0] for line in lines] == ['init', 'NORMAL']


def test_parts_of_a_character(ask: Callable[..., Said]) -> None:
    said = ask('a', SIMRKLLM_ANSWER='é', SIMRKLLM_SPLIT_UTF8=1)
    assert [(e.state, e.text) for e in said.runs[0]] == [
        ('NORMAL', b'\xc3'), ('NORMAL', b'\xa9'), ('FINISH', b''),
    ]


def test_an_answer_without_end(ask: Callable[..., Said]) -> None:
    said = ask('a', limit=7, SIMRKLLM_ANSWER='xyz', SIMRKLLM_ENDLESS=1)
    assert said.texts == ['xyzxyzx']


def test_an_end_token_that_is_text(ask: Callable[..., Said]) -> None:
    said = ask('a', limit=6, SIMRKLLM_ANSWER='xyz', SIMRKLLM_EOS_AS_TEXT='<end>')
    assert said.texts == ['xyz<end><end><end>']


@pytest.mark.parametrize(('faults', 'is_stale'), [
    ({}, False),
    ({'SIMRKLLM_STALE_IMAGE': 1}, True),
    ({'SIMRKLLM_STALE_IMAGE': 1, 'DRIVER_CLEAR': 1}, False),
])
@pytest.mark.parametrize('version', ['1.2.0', '1.3.0'])
def test_images_of_an_earlier_run(
    ask: Callable[..., Said],
    asked: list[Asked],
    version: str,
    faults: dict[str, int],
    is_stale: bool,
) -> None:
    first, second = asked[1].image, asked[2].image
    prompt = '<image>what do you see?'
    fresh = [ask(prompt, images=i, version=version).texts[0] for i in (first, second)]
    assert fresh[0] != fresh[1]
    said = ask(prompt, prompt, images=np.stack((first, second)), version=version, **faults)
    assert said.texts == [fresh[0], fresh[0] if is_stale else fresh[1]]


def test_rates_slow_it_down(ask: Callable[..., Said]) -> None:
    started = time.perf_counter()
    said = ask(
        'b', SIMRKLLM_ANSWER='xyz', SIMRKLLM_PREFILL_RATE=20, SIMRKLLM_DECODE_RATE=20
    )
    seconds = time.perf_counter() - started
    read_tokens, written = said.runs[0][-1].figures
    assert seconds > (read_tokens + written) / 20
    assert written == 3
