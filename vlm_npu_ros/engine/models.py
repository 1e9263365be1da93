# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Model profiles: the files of a model, how to address it, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
import os
from pathlib import Path
import re
from typing import Any

from vlm_npu_ros.engine.choices.instructions import Instructions
from vlm_npu_ros.engine.digests import Digests
from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.locating.grounding import Grounding
from vlm_npu_ros.engine.registry import find
from vlm_npu_ros.engine.share import share_dir
from vlm_npu_ros.engine.yaml_fields import checked, read_yaml

AUTO = 'auto'

_LONGEST_REASON = 500  # characters
_MOST_TOKENS = 1 << 20  # of a context

# Means and stds of pixels (0..255) that differ by less count as equal.
SAME_COLOUR = 0.5


@dataclass(frozen=True)
class ImageTags:
    """
    Texts around an image in a prompt, and the placeholder for each of its tokens.

    video: the placeholder for tokens of a video's frames; '' = content.
    """

    start: str
    end: str
    content: str
    video: str = ''


_SYSTEM = re.compile(r'(<[^>]+>system\n)[^<]*(<.+)', re.DOTALL)


@dataclass(frozen=True)
class ChatTemplate:
    """
    Literal texts: `system` first, then `prefix` and `postfix` around the question.

    turn_end: between an answer and the prefix of the next question.
    """

    system: str
    prefix: str
    postfix: str
    turn_end: str = ''

    def framed(self, question: str) -> str:
        """Write a question as a whole prompt."""
        return self.system + self.prefix + question + self.postfix

    def with_role(self, role: str) -> ChatTemplate | None:
        """Put a text in the place of the system message's; None = there is no such message."""
        found = _SYSTEM.fullmatch(self.system)
        return replace(self, system=found[1] + role + found[2]) if found else None


@dataclass(frozen=True)
class ImageFormat:
    """
    Input and output of the encoder.

    tokens: maps the side of the square picture in pixels to the tokens of one image.
    outputs: 1, plus the levels that go to deeper layers of the language model (deepstack).
    dim: floats for each token and output; the embedding width of the language model.
    mean, std: of RGB pixels scaled to 0..1.
    multiple: side in pixels of what becomes one token, if the encoder can be converted for any
        multiple of it; 0 = only for the sides in `tokens`, or for others with unknown counts.
    """

    tokens: dict[int, int]
    outputs: int
    dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    multiple: int = 0

    def tokens_at(self, side: int) -> int | None:
        """Return the tokens of a picture of that side; None = not known."""
        if side in self.tokens or not self.multiple or side % self.multiple:
            return self.tokens.get(side)
        return (side // self.multiple) ** 2


@dataclass(frozen=True)
class Published:
    """
    What others measured on an RK3588; None = not measured.

    source: who measured it. ram_gb: both models loaded. Rates in tokens per second.
    load_seconds: both models, for the first time since the board started.
    """

    source: str
    ram_gb: float | None = None
    encode_seconds: float | None = None
    prefill_rate: float | None = None
    decode_rate: float | None = None
    load_seconds: float | None = None


@dataclass(frozen=True)
class Fault:
    """
    What is known to go wrong with language models that one converter made.

    toolkit: version of rkllm-toolkit, or its beginning. what: what they do. remedy: a sentence.
    """

    toolkit: str
    what: str
    remedy: str


@dataclass(frozen=True)
class ModelProfile:
    """
    A file config/models/<name>.yaml; its fields have the same names.

    context: default in tokens; max_context: the largest that a conversion can have.
    folder, encoder, language_model, tokenizer: files that are shipped with the profile.
    locator, locator_tokenizer: language model that is asked where things are instead, for the
        same encoder; '' = the other one is.
    sha256: of the files; others are rejected.
    files: regular expression for the usual names of the model's files, ignoring case.
    template: None = the one in the model file.
    stop: texts that end an answer if the runtime misses the end token.
    repeat_penalty: of a token that was used already; 1 = none.
    pictures: how many separate ones a question may have; 0 = as many as fit.
    min_runtime: oldest runtime that can run the model.
    faults: what is known to go wrong with files of some converters.
    inferred: fields that no source states, such as image.dim.
    instructions: how the model is asked for one of several answers.
    first_tokens: the token that a word begins with at the start of an answer or, with a space
        before it, later on; None = learnt from the model.
    grounding: how it is asked where something is, and says so; None = it was not trained for that.
    """

    name: str
    backend: str
    context: int
    title: str = ''
    folder: Path | None = None
    encoder: str = ''
    language_model: str = ''
    tokenizer: str = ''
    locator: str = ''
    locator_tokenizer: str = ''
    sha256: Digests = Digests()
    files: str = ''
    max_context: int = 16384
    image: ImageFormat | None = None
    tags: ImageTags | None = None
    template: ChatTemplate | None = None
    stop: tuple[str, ...] = ()
    repeat_penalty: float = 1.1
    pictures: int = 0
    min_runtime: str = ''
    published: Published | None = None
    faults: tuple[Fault, ...] = ()
    inferred: tuple[str, ...] = ()
    instructions: Instructions = Instructions()
    first_tokens: dict[str, int] | None = None
    grounding: Grounding | None = None


def known_models() -> list[str]:
    return sorted(p.stem for p in (share_dir() / 'config' / 'models').glob('*.yaml'))


def load_profile(model: str) -> ModelProfile:
    """
    Load a profile by its name, or by the path of a .yaml file.

    A relative `folder` is below the package's share folder for a shipped profile, and beside the
    file for one of your own. Raises ModelFileError, which names the file and what is wrong.
    """
    if model.endswith('.yaml'):
        path, base = Path(model), Path(model).parent
    else:
        path, base = share_dir() / 'config' / 'models' / f'{model}.yaml', share_dir()
    if not os.path.isfile(path):  # unlike Path.is_file, never an error
        raise ModelFileError(
            f'There is no model profile {model!r}',
            f'Choose one of {", ".join(known_models())}, or give the path of a .yaml file',
        )
    try:
        values = read_yaml(path)
    except (OSError, ValueError) as error:
        raise _invalid(str(path), error) from error
    profile = profile_of(values, str(path))
    return replace(profile, folder=base / profile.folder) if profile.folder else profile


def grounding_like(model: str) -> Grounding | None:
    """
    Find how the models are asked for places that have such a name on a server; None = not known.

    >>> grounding_like('Qwen/Qwen2.5-VL-72B-Instruct').scale  # as those of 3B
    0
    """
    def plain(name: str) -> str:
        return re.sub(r'[^a-z0-9]', '', name.lower())

    known = {}
    for name in known_models():
        profile = load_profile(name)
        family, _, size = name.rpartition('-')
        if profile.grounding and profile.backend != 'onnx':
            known[plain(family if re.search(r'\d', size) else name)] = profile.grounding
    fitting = [family for family in known if family in plain(model)]
    return known[max(fitting, key=len)] if fitting else None


def profile_of(values: Any, source: str, remedy: str = '') -> ModelProfile:
    """Make a profile from its fields; raise ModelFileError, which names the source and mistake."""
    try:
        profile: ModelProfile = checked(ModelProfile, values, '')
        _check_fields(profile)
        _check_for_backend(profile)
        return profile
    except (ValueError, OverflowError) as error:
        raise _invalid(source, error, remedy) from error


def _invalid(source: str, error: Exception, remedy: str = '') -> ModelFileError:
    reason = str(error)[:_LONGEST_REASON].encode('utf-8', 'backslashreplace').decode()
    return ModelFileError(f'{source} is not a valid model profile: {reason}', remedy)


def _check_fields(profile: ModelProfile) -> None:
    if not 1 <= profile.context <= profile.max_context <= _MOST_TOKENS:
        raise ValueError(
            f'context must be a number of tokens, up to max_context, and that up to {_MOST_TOKENS}'
        )
    if profile.repeat_penalty <= 0 or profile.pictures < 0:
        raise ValueError('repeat_penalty must be above 0, pictures 0 or above')
    if profile.locator and not (profile.locator_tokenizer and profile.grounding):
        raise ValueError('locator needs locator_tokenizer and grounding')
    if image := profile.image:
        counts = [image.outputs, image.dim, *image.tokens, *image.tokens.values()]
        if not image.tokens or min(counts) < 1:
            raise ValueError('image.tokens, image.outputs and image.dim must be above 0')
        wrong = [side for side in image.tokens if image.multiple and side % image.multiple]
        if image.multiple < 0 or wrong:
            raise ValueError(
                f'image.tokens must have sides that are multiples of {image.multiple}, not {wrong}'
            )
        if min(image.std) <= 0:
            raise ValueError('image.std must be above 0')
    try:
        re.compile(profile.files)
    except (re.error, RecursionError) as error:
        raise ValueError(f'files is not a regular expression: {error}') from error


def _check_for_backend(profile: ModelProfile) -> None:
    try:
        backend = find(profile.backend)
    except BackendUnavailableError:
        return  # it belongs to a package that is not installed here
    missing = [name for name in backend.profile_fields if getattr(profile, name) in (None, '')]
    if missing:
        raise ValueError(f'the backend {backend.name} needs {", ".join(missing)}')
    if profile.sha256.tokenizer and 'tokenizer' not in backend.profile_fields:
        raise ValueError('sha256.tokenizer is given, but the tokenizer is in the language model')
    wanted, known = profile.min_runtime, backend.runtimes
    if wanted and known and wanted not in known:
        raise ValueError(f'min_runtime must be one of {", ".join(known)}, not {wanted!r}')
