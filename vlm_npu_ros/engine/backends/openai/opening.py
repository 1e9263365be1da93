# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""Opening of a model that a server has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vlm_npu_ros.engine.backends.backend import Models
from vlm_npu_ros.engine.backends.openai.api_key import read_key
from vlm_npu_ros.engine.backends.openai.encoder import JpegEncoder
from vlm_npu_ros.engine.backends.openai.models import ServerModel
from vlm_npu_ros.engine.backends.openai.settings import OpenAISettings
from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.pip import pip_install
from vlm_npu_ros.engine.progress import Caution, Event, Progress
from vlm_npu_ros.engine.settings import EngineSettings
from vlm_npu_ros.engine.types import ReadAhead

if TYPE_CHECKING:
    from vlm_npu_ros.engine.backends.openai.language_model import RemoteLanguageModel

_LOOPBACK = ('localhost', '127.0.0.1', '::1')
_COST = 'the server takes money for each picture, asked about or not (read_ahead: on)'
_MOST_NAMES = 20  # of models in a message


def load(settings: EngineSettings, progress: Progress) -> Models:
    """Make pictures into JPEG files, and open the model that is to read them."""
    options: OpenAISettings = settings.options
    language_model = open_model(options, settings.context, progress)
    if settings.read_ahead:
        language_model.read_ahead = ReadAhead(language_model.keeps_pictures, False, _COST)
    return JpegEncoder(options.image_size, options.jpeg_quality), language_model


def open_model(
    settings: OpenAISettings, context: int, progress: Progress
) -> RemoteLanguageModel:
    """
    Open the model that the settings name, after asking the server whether it has it.

    context: in tokens; 0 = what the server says, if it does.
    Raises BackendError with what to do about it.
    """
    secure = _check_url(settings.base_url)
    key = read_key(settings)
    if key and not secure:
        progress(Caution('the key is sent to openai.base_url without encryption: use https'))
    try:
        from vlm_npu_ros.engine.backends.openai.language_model import RemoteLanguageModel
        from vlm_npu_ros.engine.backends.openai.server import Server
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(
            f'The backend openai needs the package {error.name}',
            f'Install it: `{pip_install("openai")}` (extra: vlm_npu_ros[openai])',
        ) from error
    try:
        server = Server(settings, key, lambda line: progress(Caution(line)))
    except Exception as error:  # of many kinds
        raise BackendUnavailableError(
            f'A proxy or certificate file of the environment cannot be used: {error}',
            'Look at SSL_CERT_FILE and the variables that end in _PROXY',
        ) from error
    try:
        model = _find(server.models(), settings, progress)
        context = context or model.context
        known = f'{context} tokens of context' if context else 'a context of unknown size'
        progress(Event(f'Model {model.name} of {settings.base_url}: {known}'))
        return RemoteLanguageModel(server, settings, model, context)
    except BaseException:
        server.close()
        raise


def _check_url(url: str) -> bool:
    """Tell whether what goes there stays secret; errors do not repeat the address."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ('http', 'https') and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BackendUnavailableError(
            'openai.base_url is not the address of a server',
            'Set it to one like http://127.0.0.1:8080/v1',
        )
    if '@' in parts.netloc or parts.query or parts.fragment:
        raise BackendUnavailableError(
            'openai.base_url must hold no password and no ?',
            'Put the key into the environment variable of openai.api_key_env, or into a file '
            '(openai.api_key_file)',
        )
    return parts.scheme == 'https' or parts.hostname in _LOOPBACK


def _find(
    models: Sequence[ServerModel], settings: OpenAISettings, progress: Progress
) -> ServerModel:
    """Find the entry of the model that the settings name."""
    wanted, names = settings.model, [model.name for model in models]
    listed = ', '.join(names[:_MOST_NAMES]) + (', ...' if len(names) > _MOST_NAMES else '')
    if wanted and not models:
        progress(Caution(f'{settings.base_url} lists no models; {wanted} is taken on trust'))
        return ServerModel(wanted)
    for model in models:
        if model.name in (wanted, f'{wanted}:latest'):  # Ollama's tag of a name without one
            return model
    for model in models:
        if wanted in model.names:
            return replace(model, name=wanted)
    # LM Studio lists its model of embeddings, too.
    able = [model for model in models if 'embed' not in model.name.lower()] or models
    if not wanted and len(able) == 1:
        return able[0]
    if wanted:
        raise ModelFileError(
            f'The server {settings.base_url} has no model {wanted}',
            f'Set openai.model to one of {listed}',
        )
    missing = not models and '/v1' not in settings.base_url
    raise ModelFileError(
        f'The server {settings.base_url} lists {len(models)} models',
        'Set openai.model' + (f' to one of {listed}' if models else '')
        + (', or openai.base_url: is /v1 missing?' if missing else ''),
    )
