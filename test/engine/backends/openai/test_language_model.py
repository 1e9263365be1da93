# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

"""A real server on loopback that streams, and all the ways in which it fails."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from math import exp, log
import threading
import time
from typing import Any

from bars import timing, within
from chat_server import Answer, chat_server, ChatServer, Exchange, PATIENCE, say_words
import cv2
import numpy as np
import pytest
from vlm_npu_ros.engine.errors import (
    AnswerTimeoutError,
    BackendCrashedError,
    BackendUnavailableError,
    ContextError,
    InactiveError,
    ModelFileError,
    RequestError,
    VlmError,
)
from vlm_npu_ros.engine.generation import Cancellation
from vlm_npu_ros.engine.local import LocalEngine
from vlm_npu_ros.engine.types import Chunk, FinishReason, GenerationRequest, Sampling, Turn

MakeEngine = Callable[..., LocalEngine]
PICTURE = np.full((48, 64, 3), (200, 30, 60), np.uint8)
QUESTION = GenerationRequest('what do you see?', ())
YES_NO = GenerationRequest('is it red?', (), choices=('yes', 'no'))


def test_answer_streams(make_engine: MakeEngine, server: ChatServer) -> None:
    said = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.say('a')
        assert said.wait(PATIENCE)  # the first piece comes before the second one was sent
        exchange.say(' ball')
        exchange.end('length', prompt=50, new=2)

    server.answer = answer
    stream = make_engine().generate(QUESTION)
    assert next(stream) == Chunk('a')
    said.set()
    middle, last = list(stream)
    assert (middle.text, last.text, last.finish_reason) == (' ball', '', FinishReason.LENGTH)
    assert last.figures and last.figures.prompt_tokens == 50
    assert (last.figures.new_tokens, last.figures.image_tokens) == (2, 0)
    assert last.figures.prefill_seconds > 0 and last.figures.decode_seconds > 0


def test_request_is_a_dialogue_about_pictures(make_engine: MakeEngine, server: ChatServer) -> None:
    engine = make_engine()
    images = tuple(engine.encode(picture) for picture in (PICTURE, 255 - PICTURE))
    request = replace(
        QUESTION, images=images, turns=(Turn('what <image> is it?', 'a ball'),),
        max_new_tokens=17, sampling=Sampling(0.5, 40, 0.9, 7),
    )
    assert engine.answer(request) == 'a red ball'
    body = server.asked()
    first, second, third = body['messages']
    assert (second, third) == (
        {'role': 'assistant', 'content': 'a ball'},
        {'role': 'user', 'content': 'what do you see?'},
    )
    *shown, text = first['content']
    assert text == {'type': 'text', 'text': 'what <image> is it?'}
    for part, picture in zip(shown, (PICTURE, 255 - PICTURE), strict=True):
        head, data = part['image_url']['url'].split(',')
        assert head == 'data:image/jpeg;base64'
        seen = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert np.abs(seen[..., ::-1].astype(int) - picture).max() < 8
    del body['messages']
    assert body == {
        'model': 'tiny', 'max_tokens': 17, 'temperature': 0.5, 'top_p': 0.9, 'seed': 7,
        'stream': True, 'stream_options': {'include_usage': True},
    }


def test_half_a_character_is_sent_as_a_question_mark(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    make_engine().answer(replace(QUESTION, question='what is \ud800?'))
    assert server.asked()['messages'][0]['content'] == 'what is ??'


def test_server_that_counts_nothing(make_engine: MakeEngine, server: ChatServer) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.body.pop('stream_options')
        say_words('a', ' ball')(exchange)

    server.answer = answer
    *_, last = make_engine().generate(QUESTION)
    assert last.figures and last.figures.new_tokens == 2 and last.figures.prompt_tokens > 0


def test_server_that_writes_on_and_on_is_cut_off(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for _ in range(5):
            exchange.say('so ')
        exchange.wait_for_disconnect()

    server.answer = answer
    *_, last = make_engine().generate(replace(QUESTION, max_new_tokens=4))
    assert last.finish_reason is FinishReason.LENGTH
    server.gone.get(timeout=PATIENCE)


def silence(exchange: Exchange) -> None:
    exchange.wait_for_disconnect()


def silence_before_tokens(exchange: Exchange) -> None:
    exchange.begin()  # an empty piece, and comments, are no sign of life
    exchange.raw(b': still here\n\n')
    exchange.wait_for_disconnect()


def stop_after_a_token(exchange: Exchange) -> None:
    exchange.begin()
    exchange.say('a')
    exchange.wait_for_disconnect()


def drop_after_a_token(exchange: Exchange) -> None:
    exchange.begin()
    exchange.say('a')
    exchange.drop()


def drop_within_a_token(exchange: Exchange) -> None:
    exchange.begin()
    exchange.say('a')
    exchange.wfile.write(b'100\r\ndata: {"choices": [{"delta": {"con')
    exchange.drop()


def drop_within_a_character(exchange: Exchange) -> None:
    exchange.begin()
    exchange.raw(b'data: {"choices": [{"delta": {"content": "\xc3')
    exchange.drop()


def junk(exchange: Exchange) -> None:
    exchange.begin()
    exchange.raw(b'data: {not json}\n\n')
    exchange.wait_for_disconnect()


def other_json(exchange: Exchange) -> None:
    exchange.begin()
    exchange.data({'temperature': 21})
    exchange.wait_for_disconnect()


def text_that_is_none(exchange: Exchange) -> None:
    exchange.begin()
    exchange.event({'content': {'a': 1}})
    exchange.wait_for_disconnect()


def html(exchange: Exchange) -> None:
    exchange.reply(200, b'<html>Welcome to the router</html>')


def nothing_at_all(exchange: Exchange) -> None:
    if not exchange.body.get('stream'):
        return exchange.fail(400, "This model's maximum context length is 64 tokens.")
    exchange.reply(200, b'')


def no_end(exchange: Exchange) -> None:
    exchange.begin()
    exchange.say('a')
    exchange.wfile.write(b'0\r\n\r\n')


def error_in_the_stream(exchange: Exchange) -> None:
    exchange.begin()
    exchange.say('a')
    exchange.data({'error': {'message': 'out of memory', 'code': 500}})
    exchange.wait_for_disconnect()


def status(number: int, text: str = 'so it is', **headers: str) -> Answer:
    return lambda exchange: exchange.fail(number, text, **headers)


@timing
@pytest.mark.parametrize(
    ('answer', 'error', 'says'),
    [
        (silence, AnswerTimeoutError, 'nothing for 1.0 s .openai.first_token_timeout'),
        (silence_before_tokens, AnswerTimeoutError, 'nothing for 1.0 s'),
        (stop_after_a_token, AnswerTimeoutError, 'nothing more for 1.0 s .openai.token_timeout'),
        (drop_after_a_token, BackendCrashedError, 'did not send a whole answer'),
        (drop_within_a_token, BackendCrashedError, 'did not send a whole answer'),
        (junk, AnswerTimeoutError, 'nothing for 1.0 s .*, only 1 events that cannot be read'),
        (other_json, AnswerTimeoutError, 'only 1 events'),
        (text_that_is_none, AnswerTimeoutError, 'only 1 events'),
        (html, BackendUnavailableError, 'web page .Welcome to the router. instead of JSON'),
        (nothing_at_all, ContextError, '64'),
        (no_end, BackendCrashedError, 'without saying why'),
        (error_in_the_stream, BackendCrashedError, 'out of memory'),
        (drop_within_a_character, BackendUnavailableError, 'cannot be reached'),
        (Exchange.drop, BackendUnavailableError, 'cannot be reached'),
        (status(400), RequestError, 'answered 400: so it is'),
        (status(401), BackendUnavailableError, 'environment variable OPENAI_API_KEY'),
        (status(403), BackendUnavailableError, 'valid key'),
        (status(404), ModelFileError, 'so it is .* has these models: tiny'),
        (status(404, 'no model "a-vision"'), ModelFileError, 'a-vision".* has these models'),
        (status(418), BackendUnavailableError, '418'),
        (status(422), RequestError, '422'),
        (status(429), BackendUnavailableError, '429: so it is .* ask again later'),
        (status(429, retry_after='2000'), BackendUnavailableError, '429'),
        (status(500), BackendUnavailableError, '500'),
        (status(500, '1 validation error: ...'), RequestError, 'refuses that: 1 validation'),
        (status(503), BackendUnavailableError, '503'),
        (status(500, 'image input is not supported - hint: mmproj'), ModelFileError, 'that sees'),
        (status(400, 'the request exceeds the available context size'), ContextError, 'Ask less'),
        (status(500, 'Requested tokens (70) exceed context window of 64'), ContextError, '64'),
        (status(400, "This model's maximum context length is 64 tokens."), ContextError, '64'),
    ],
)
def test_failure_is_a_typed_error_in_time(
    make_engine: MakeEngine, server: ChatServer, answer: Answer, error: type[VlmError], says: str
) -> None:
    server.answer = answer
    timeouts = dict.fromkeys(('first_token_timeout', 'token_timeout'), 1.0)
    engine = make_engine(**timeouts if error is AnswerTimeoutError else {})
    started = time.monotonic()
    with pytest.raises(error, match=says) as caught:
        engine.answer(QUESTION)
    assert time.monotonic() - started < within(2)
    assert type(caught.value) is error
    server.answer = say_words('well', ' again')
    assert engine.answer(QUESTION) == 'well again'


@pytest.mark.parametrize(
    'failure', [
        status(500), status(503, 'the vision model is not loaded yet'),
        status(429, retry_after='0'), Exchange.drop, drop_within_a_character,
    ],
)
def test_answer_that_has_not_begun_is_asked_for_again(
    make_engine: MakeEngine, server: ChatServer, lines: list[str], failure: Answer
) -> None:
    def answer(exchange: Exchange) -> None:
        (failure if server.questions() < 3 else say_words('at', ' last'))(exchange)

    server.answer = answer
    engine = make_engine(retries=2)
    assert engine.answer(QUESTION) == 'at last'
    assert len([line for line in lines if 'tried again in' in line]) == 2


def test_answer_that_has_begun_is_not_asked_for_again(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    server.answer = drop_after_a_token
    with pytest.raises(BackendCrashedError):
        make_engine(retries=2).answer(QUESTION)
    assert server.questions() == 1


@timing
def test_retry_after_is_waited_for(make_engine: MakeEngine, server: ChatServer) -> None:
    times: list[float] = []

    def answer(exchange: Exchange) -> None:
        times.append(time.monotonic())
        busy = status(429, retry_after='1')
        (busy if len(times) == 1 else say_words('yes'))(exchange)

    server.answer = answer
    assert make_engine(retries=1).answer(QUESTION) == 'yes'
    assert 0.95 < times[1] - times[0] < within(2)


def test_server_that_has_gone(make_engine: MakeEngine) -> None:
    with chat_server() as gone:
        engine = make_engine(base_url=gone.url)
    with pytest.raises(BackendUnavailableError, match='cannot be reached: Connection refused'):
        engine.answer(QUESTION)


@timing
@pytest.mark.parametrize('answer', [silence, silence_before_tokens, stop_after_a_token])
def test_cancel_ends_the_answer_and_frees_the_server(
    make_engine: MakeEngine, server: ChatServer, answer: Answer
) -> None:
    server.answer = answer
    engine = make_engine()
    generation = engine.generate(QUESTION)
    chunks: list[Chunk] = []
    asking = threading.Thread(target=lambda: chunks.extend(generation))
    asking.start()
    assert server.waiting.acquire(timeout=PATIENCE)
    cancelled = time.monotonic()
    generation.cancel()
    asking.join(PATIENCE)
    ended = time.monotonic()
    gone = server.gone.get(timeout=PATIENCE)
    assert chunks[-1].finish_reason is FinishReason.CANCELLED
    print(f'ended after {ended - cancelled:.4f} s, the server knew after {gone - cancelled:.4f} s')
    # The server would wait forever.
    assert ended - cancelled < within(2.0) and gone - cancelled < within(2.0)
    assert generation.join(PATIENCE)
    server.answer = say_words('next')
    assert engine.answer(QUESTION) == 'next'


def test_cancel_between_attempts(make_engine: MakeEngine, server: ChatServer) -> None:
    server.answer = status(503, retry_after='8')  # of the 10 s that it has
    generation = make_engine(retries=1).generate(QUESTION)
    asking = threading.Thread(target=lambda: list(generation))
    asking.start()
    server.asked()
    generation.cancel()
    asking.join(PATIENCE)
    assert generation.join(5)


def test_closing_ends_an_answer(make_engine: MakeEngine, server: ChatServer) -> None:
    server.answer = stop_after_a_token
    engine = make_engine()
    generation = engine.generate(QUESTION)
    next(generation)
    engine.close()
    with pytest.raises(InactiveError):
        generation.next(timeout=PATIENCE)


def test_encoding_does_not_wait_for_an_answer(make_engine: MakeEngine, server: ChatServer) -> None:
    server.answer = stop_after_a_token
    engine = make_engine()
    stream = engine.generate(QUESTION)
    next(stream)
    image = engine.encode(PICTURE)  # hangs where it waits for the answer's end
    assert image.nbytes == len(image.data.tobytes()) > 100
    stream.close()


def test_connection_is_kept(make_engine: MakeEngine, server: ChatServer) -> None:
    engine = make_engine()
    ports = set()
    for _ in range(3):
        engine.answer(QUESTION)
        server.requests.get(timeout=PATIENCE)
    while not server.requests.empty():
        ports.add(server.requests.get().port)
    assert len(ports) == 1


# --- the context ---


def test_dialogue_fits_what_the_server_has_room_for(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    engine = make_engine()
    turns = (Turn('a' * 300, 'b'), Turn('c' * 300, 'd'), Turn('e', 'f'))
    request = replace(QUESTION, turns=turns, max_new_tokens=10)
    assert engine.fit(request).request == request  # nobody knows yet
    server.answer = status(400, 'the request exceeds the available context size (200 tokens)')
    with pytest.raises(ContextError):
        engine.answer(request)
    assert engine.context == 200
    assert engine.fit(request).dropped_turns == 1


@pytest.mark.parametrize('field', ['max_model_len', 'context_length'])
def test_server_tells_its_context(make_engine: MakeEngine, server: ChatServer, field: str) -> None:
    entry = {'id': 'tiny', field: 2048}
    server.list_models = lambda exchange: exchange.reply(200, {'data': [entry]})
    assert make_engine().context == 2048
    assert make_engine(context=512).context == 512


@pytest.mark.parametrize(
    'entry', [{'meta': 'x'}, {'meta': [2048]}, {'n_ctx': '2048'}, {'meta': {'n_ctx': 10**30}}]
)
def test_context_that_is_none_is_unknown(
    make_engine: MakeEngine, server: ChatServer, lines: list[str], entry: dict[str, Any]
) -> None:
    data = [{'id': 'tiny', **entry}]
    server.list_models = lambda exchange: exchange.reply(200, {'data': data})
    assert make_engine().answer(QUESTION) == 'a red ball'
    assert 'a context of unknown size' in lines[-1]


# --- answers that are one of several ---

SURE = {'Yes': log(0.9), 'No': log(0.06), ' yes': log(0.02), 'N': log(0.01)}


def say_yes(exchange: Exchange) -> None:
    exchange.begin()
    if exchange.body.get('response_format'):
        exchange.say('{"answer": ')
        exchange.say('"yes"}')
    elif exchange.body.get('logprobs'):
        exchange.say('Yes', SURE)
        exchange.say('.', {'.': 0.0})
    else:
        exchange.say('Yes')
        exchange.say('.')
    exchange.end()


def refuse(*names: str) -> Answer:

    def answer(exchange: Exchange) -> None:
        if set(names).intersection(exchange.body):
            return exchange.fail(400, 'I do not know this argument')
        say_yes(exchange)

    return answer


def test_choice_has_the_probability_that_the_server_tells(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    server.answer = say_yes
    *_, last = make_engine().generate(YES_NO)
    assert last.verdict and last.verdict.index == 0
    assert last.verdict.probability == pytest.approx(0.9 + 0.02)
    body = server.asked()
    assert body['logprobs'] is True and body['top_logprobs'] == 20
    assert body['messages'][0]['content'].startswith('is it red? Please answer yes or no.')


def test_unlikely_choice_is_unclear(make_engine: MakeEngine, server: ChatServer) -> None:
    server.answer = say_yes
    *_, last = make_engine().generate(replace(YES_NO, min_probability=0.95))
    assert last.verdict and last.verdict.index is None


def test_json_schema(make_engine: MakeEngine, server: ChatServer) -> None:
    server.answer = say_yes
    *chunks, last = make_engine(typed='json_schema').generate(YES_NO)
    assert ''.join(chunk.text for chunk in (*chunks, last)) == 'yes'
    assert last.verdict and (last.verdict.index, last.verdict.probability) == (0, None)
    schema = server.asked()['response_format']['json_schema']['schema']
    assert schema['properties']['answer']['enum'] == ['yes', 'no', 'unclear']


def test_role_is_the_first_message(make_engine: MakeEngine, server: ChatServer) -> None:
    server.answer = say_words('a', ' cone')
    engine = make_engine()
    image = engine.encode(np.zeros((8, 8, 3), np.uint8))
    turns = (Turn('what?', 'a box'),)
    engine.answer(GenerationRequest('where?', (image,), turns=turns, system_prompt='Be brief.'))
    role, first, *_ = server.asked()['messages']
    assert role == {'role': 'system', 'content': 'Be brief.'}
    assert first['content'][0]['type'] == 'image_url'


def test_json_is_asked_for_by_its_schema(make_engine: MakeEngine, server: ChatServer) -> None:
    schema, bodies = '{"type":"object","required":["answer"]}', []
    for refused, text, wanted in (
        ((), schema, {'type': 'json_schema', 'json_schema': {
            'name': 'answer', 'schema': {'type': 'object', 'required': ['answer']}}}),
        ((), '', {'type': 'json_object'}),
        (('response_format',), schema, None),
    ):
        def answer(exchange: Exchange, refused: tuple[str, ...] = refused) -> None:
            if set(refused).intersection(exchange.body):
                return exchange.fail(400, 'I do not know this argument')
            say_words('{"answer":', ' 3}')(exchange)

        server.answer = answer
        engine = make_engine()
        for _ in range(2):
            *_, last = engine.generate(GenerationRequest('how many?', (), schema=text))
            assert last.text == '{"answer": 3}'
        while server.questions() > len(bodies):
            bodies.append(server.asked())
        assert bodies[-1].get('response_format') == wanted
        assert 'stream_options' in bodies[-1]
        question = bodies[-1]['messages'][0]['content']
        assert question.startswith('how many? Reply with JSON only.') and text in question


@pytest.mark.parametrize(
    ('refused', 'asked_for'),
    [
        (['logprobs'], {'stream_options', 'response_format'}),
        (['logprobs', 'response_format'], {'stream_options'}),
        (['stream_options'], {'logprobs', 'top_logprobs'}),
        (['stream_options', 'logprobs', 'response_format'], set()),
    ],
)
def test_what_a_server_refuses_is_asked_for_once(
    make_engine: MakeEngine, server: ChatServer, refused: list[str], asked_for: set[str]
) -> None:
    server.answer = refuse(*refused)
    engine = make_engine()
    wishes = {'logprobs', 'top_logprobs', 'response_format', 'stream_options'}
    *_, last = engine.generate(YES_NO)
    before = server.questions()
    *_, again = engine.generate(YES_NO)
    for chunk in (last, again):
        assert chunk.verdict and chunk.verdict.index == 0
    assert server.questions() == before + 1
    for _ in range(before):
        server.asked()
    assert wishes.intersection(server.asked()) == asked_for


def test_server_that_ignores_logprobs_gets_a_schema_next(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.body.pop('logprobs', None)
        say_yes(exchange)

    server.answer = answer
    engine = make_engine()
    for _ in range(2):
        *_, last = engine.generate(YES_NO)
        assert last.verdict and (last.verdict.index, last.verdict.probability) == (0, None)
    server.asked()
    assert 'response_format' in server.asked()


def test_bad_request_is_not_taken_for_a_refused_wish(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    server.answer = status(400, 'temperature must not be negative')
    engine = make_engine()
    with pytest.raises(RequestError, match='temperature'):
        engine.answer(YES_NO)
    server.answer = say_yes
    *_, last = engine.generate(YES_NO)
    assert last.verdict and last.verdict.probability == pytest.approx(sum(map(exp, (
        SURE['Yes'], SURE[' yes']))))


def test_picture_is_read_ahead_where_that_is_asked_for(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    assert not make_engine().read_ahead.possible
    engine = make_engine(read_ahead=True)
    able = engine.read_ahead
    assert able.possible and not able.unasked and 'money' in able.why
    image, server.answer = engine.encode(PICTURE), say_words('a')
    assert engine.prepare((image,), Cancellation()).prompt_tokens == 600
    ahead = server.asked()
    assert ahead['max_tokens'] == 1
    assert engine.prepare((image,), Cancellation()).prompt_tokens == 0
    engine.answer(replace(QUESTION, images=(image,)))
    asked = server.asked()
    picture, text = asked['messages'][0]['content']
    assert ahead['messages'][0]['content'] == [picture, {'type': 'text', 'text': '.'}]
    assert text['text'] == QUESTION.question


def test_server_that_goes_on_with_dialogues_reads_nothing_ahead(
    make_engine: MakeEngine, server: ChatServer
) -> None:
    server.list_models = lambda exchange: exchange.reply(
        200, {'data': [{'id': 'tiny', 'owned_by': 'rknn'}]})
    assert not make_engine(read_ahead=True).read_ahead.possible
