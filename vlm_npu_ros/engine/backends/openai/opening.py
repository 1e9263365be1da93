"""Opening of a model that a server has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from vlm_npu_ros.engine.backends.backend import Models
from vlm_npu_ros.engine.backends.base import LanguageModel
from vlm_npu_ros.engine.backends.openai.api_key import read_key
from vlm_npu_ros.engine.backends.openai.encoder import JpegEncoder
from vlm_npu_ros.engine.backends.openai.settings import MOST_TOKENS, OpenAISettings
from vlm_npu_ros.engine.errors import BackendUnavailableError, ModelFileError
from vlm_npu_ros.engine.pip import pip_install
from vlm_npu_ros.engine.progress import Caution, Event, Progress
from vlm_npu_ros.engine.settings import EngineSettings

_LOOPBACK = ('localhost', '127.0.0.1', '::1')
_MOST_NAMES = 20  # of models in a message
# Fields of a model in the list of vLLM, OpenRouter and llama.cpp.
_CONTEXTS = ('max_model_len', 'context_length', 'n_ctx')


def load(settings: EngineSettings, progress: Progress) -> Models:
    """Make pictures into JPEG files, and open the model that is to read them."""
    options: OpenAISettings = settings.options
    language_model = open_model(options, settings.context, progress)
    return JpegEncoder(options.image_size, options.jpeg_quality), language_model


def open_model(settings: OpenAISettings, context: int, progress: Progress) -> LanguageModel:
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
        server = Server(settings, key, lambda line: progress(Event(line)))
    except Exception as error:  # of many kinds
        raise BackendUnavailableError(
            f'A proxy or certificate file of the environment cannot be used: {error}',
            'Look at SSL_CERT_FILE and the variables that end in _PROXY',
        ) from error
    try:
        model = _find(server.models(), settings, progress)
    except BaseException:
        server.close()
        raise
    context = context or _context(model)
    known = f'{context} tokens of context' if context else 'a context of unknown size'
    progress(Event(f'Model {model["id"]} of {settings.base_url}: {known}'))
    return RemoteLanguageModel(server, settings, model['id'], context)


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
    models: Sequence[Mapping[str, Any]], settings: OpenAISettings, progress: Progress
) -> Mapping[str, Any]:
    """Find the entry of the model that the settings name."""
    wanted, names = settings.model, [str(model['id']) for model in models]
    listed = ', '.join(names[:_MOST_NAMES]) + (', ...' if len(names) > _MOST_NAMES else '')
    if wanted and not models:
        progress(Caution(f'{settings.base_url} lists no models; {wanted} is taken on trust'))
        return {'id': wanted}
    for model in models:
        if model['id'] in (wanted, f'{wanted}:latest'):  # Ollama's tag of a name without one
            return model
    if not wanted and len(models) == 1:
        return models[0]
    if wanted:
        raise ModelFileError(
            f'The server {settings.base_url} has no model {wanted}',
            f'Set openai.model to one of {listed}',
        )
    raise ModelFileError(
        f'The server {settings.base_url} lists {len(models)} models',
        'Set openai.model' + (f' to one of {listed}' if models else ''),
    )


def _context(model: Mapping[str, Any]) -> int:
    """Find how many tokens of context the server says the model has; 0 = it does not say."""
    meta = model.get('meta')
    places = (meta if isinstance(meta, dict) else {}, model)
    told = (place.get(name) for place in places for name in _CONTEXTS)
    return next((n for n in told if isinstance(n, int) and 0 < n <= MOST_TOKENS), 0)
