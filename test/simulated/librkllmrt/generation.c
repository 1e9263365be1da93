// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* One run: the prompt in, token after token out. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"
#include "reuse.h"
#include "runtime.h"
#include "tokenizer.h"

typedef enum { GO_ON, PAUSED, FAILED, CUT } Verdict;

typedef struct {
  Run *run;
  int32_t *tokens; /* of the answer so far */
  int32_t count;
  int32_t repeated; /* tokens that come again and again once the answer is over, 0: none */
  int32_t *script;  /* the answer that SIMRKLLM_ANSWER asks for, NULL: the model's own */
  int32_t script_length;
  Rows rows;
  char *text; /* tokens since the last complete character */
  size_t text_length;
  double prefill_seconds, generate_seconds;
} Answer;

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static bool is_aborted(Runtime *runtime)
{
  pthread_mutex_lock(&runtime->lock);
  bool aborted = runtime->is_aborted;
  pthread_mutex_unlock(&runtime->lock);
  return aborted;
}

/* Wait until `tokens` tokens since `started` are as slow as the named rate, or for an abort. */
static void pace(Runtime *runtime, const char *name, double started, double tokens)
{
  double rate = fault_number(name, 0);
  if (rate <= 0)
    return;
  double end = started + tokens / rate;
  struct timespec time = {.tv_sec = (time_t)end, .tv_nsec = (end - (time_t)end) * 1e9};
  pthread_mutex_lock(&runtime->lock);
  while (!runtime->is_aborted &&
         pthread_cond_timedwait(&runtime->aborted, &runtime->lock, &time) != ETIMEDOUT)
    ;
  pthread_mutex_unlock(&runtime->lock);
}

/* --- the callback --- */

#if RKLLM_ABI >= 'D'
static RKLLMPerfStat figures(const Answer *answer)
{
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (RKLLMPerfStat){
      .prefill_time_ms = answer->prefill_seconds * 1e3,
      .prefill_tokens =
          fault("NO_PREFILL_TOKENS") ? 0 : answer->run->prompt.length - answer->run->reused,
      .generate_time_ms = answer->generate_seconds * 1e3,
      .generate_tokens = answer->count,
      .memory_usage_mb = usage.ru_maxrss / 1024.0f,
  };
}

static Verdict verdict(int returned)
{
  if (returned == 0 || (RKLLM_ABI >= 'E' && returned == 2))
    return GO_ON;
  if (returned == 1)
    return PAUSED;
  log_line("E rkllm: simulated runtime: the callback returned %d", returned);
  return FAILED;
}
#endif

/* The text is gone when the callback returns: it lives in a buffer that is overwritten then. */
static Verdict emit(Answer *answer, LLMCallState state, const char *text, int32_t token)
{
  Runtime *runtime = answer->run->runtime;
  void *userdata = answer->run->userdata ? answer->run->userdata : runtime->userdata;
  char *copy = text ? strdup(text) : NULL;
  RKLLMResult result = {.text = copy, .token_id = token};
  Verdict next = GO_ON;
  if (text)
    hand_out(
        &answer->rows, &result, answer->script && *text ? token : -1,
        &runtime->stale[answer->run->mode]);
#if RKLLM_ABI >= 'D'
  if (state == RKLLM_RUN_FINISH)
    result.perf = figures(answer);
  next = verdict(runtime->callback(&result, userdata, state));
#else
  runtime->callback(&result, userdata, state);
#endif
  if (text)
    take_back(&answer->rows);
  if (copy)
    memset(copy, '#', strlen(copy));
  free(copy);
  return next;
}

static Verdict emit_text(Answer *answer, const char *text, int32_t token)
{
  if (fault("SPLIT_UTF8"))
    return emit(answer, RKLLM_RUN_NORMAL, text, token);
  answer->text = realloc(answer->text, answer->text_length + strlen(text) + 1);
  strcpy(answer->text + answer->text_length, text);
  answer->text_length += strlen(text);
  if (ends_inside_character(answer->text, answer->text_length))
    return emit(answer, RKLLM_RUN_WAITING, "", token);
  answer->text_length = 0;
  return emit(answer, RKLLM_RUN_NORMAL, answer->text, token);
}

static Verdict emit_token(Answer *answer, int32_t token)
{
  const Runtime *runtime = answer->run->runtime;
  const Model *model = &runtime->model;
  const char *text = model->tokens[token].bytes;
  if ((uint32_t)token == model->header.eos && fault_text("EOS_AS_TEXT"))
    text = fault_text("EOS_AS_TEXT");
  else if (is_special(model, token) && runtime->skip_special_token)
    text = "";
  return emit_text(answer, text, token);
}

/* --- the tokens --- */

static void prefill(Answer *answer)
{
  const Run *run = answer->run;
  Runtime *runtime = run->runtime;
  double started = now();
  crash_or_hang("PREFILL");
  for (size_t i = run->reused; i < run->prompt.length && !is_aborted(runtime); i++) {
    read_token(run, i);
    add_row(&answer->rows, &runtime->decoder);
  }
  pace(runtime, "PREFILL_RATE", started, run->prompt.length - run->reused);
  pthread_mutex_lock(&runtime->lock);
  runtime->is_prefilling = false;
  pthread_mutex_unlock(&runtime->lock);
}

static int32_t chosen_token(const Answer *answer)
{
  Runtime *runtime = answer->run->runtime;
  const Header *h = &runtime->model.header;
  if (answer->script)
    return answer->count < answer->script_length ? answer->script[answer->count]
                                                 : (int32_t)h->eos;
  float logits[h->vocabulary];
  next_logits(&runtime->decoder, logits);
  return pick_token(logits, h->vocabulary, answer->run->sampling, &runtime->seed);
}

static int32_t next_token(Answer *answer)
{
  if (!answer->repeated) {
    int32_t token = chosen_token(answer);
    bool is_over = (uint32_t)token == answer->run->runtime->model.header.eos;
    if (!is_over || !answer->count || !fault("ENDLESS"))
      return token;
    answer->repeated = answer->count;
  }
  return answer->tokens[answer->count - answer->repeated];
}

static bool ends_answer(const Runtime *runtime, int32_t token)
{
  return (uint32_t)token == runtime->model.header.eos && !runtime->ignore_eos_token &&
         !fault_text("EOS_AS_TEXT");
}

static Verdict misbehave(Answer *answer)
{
  if (fault_at("SEGV_AT", answer->count))
    raise(SIGSEGV);
  if (fault_at("HANG_AT", answer->count))
    hang();
  if (!fault_at("ERROR_AT", answer->count))
    return GO_ON;
  log_line("E rkllm: simulated runtime: failed at token %d, as asked to", answer->count);
  emit(answer, RKLLM_RUN_ERROR, NULL, 0);
  return FAILED;
}

static Verdict write_answer(Answer *answer)
{
  Runtime *runtime = answer->run->runtime;
  double started = now();
  Verdict next = GO_ON;
  while (next == GO_ON && answer->count < answer->run->limit && !is_aborted(runtime)) {
    int32_t token = next_token(answer);
    if (ends_answer(runtime, token))
      break;
    answer->tokens[answer->count++] = token;
    next = misbehave(answer);
    if (next == GO_ON)
      next = emit_token(answer, token);
    if (rows_fault(&answer->rows, "ONCE"))
      next = CUT;
    if (runtime->decoder.length == runtime->decoder.context) {
      log_line("E rkllm: simulated runtime: the context is full");
      if (RKLLM_ABI < 'F')
        abort();
      break;
    }
    read_written(runtime, token);
    add_row(&answer->rows, &runtime->decoder);
    pace(runtime, "DECODE_RATE", started, answer->count);
  }
  answer->generate_seconds = now() - started;
  return next;
}

/* Hand out the hidden states; no text comes in this mode. */
static Verdict tell_hidden(Answer *answer)
{
  if (is_aborted(answer->run->runtime))
    return GO_ON;
  emit(answer, RKLLM_RUN_NORMAL, NULL, 0);
#if RKLLM_ABI == 'A'
  Verdict next = emit(answer, RKLLM_RUN_GET_LAST_HIDDEN_LAYER, "", 0);
#else
  Verdict next = emit(answer, RKLLM_RUN_NORMAL, "", 0);
#endif
  return rows_fault(&answer->rows, "ONCE") ? CUT : next;
}

static void wait_for_abort(Runtime *runtime)
{
  pthread_mutex_lock(&runtime->lock);
  while (!runtime->is_aborted)
    pthread_cond_wait(&runtime->aborted, &runtime->lock);
  pthread_mutex_unlock(&runtime->lock);
}

static void crash_hang_or_be_slow(Answer *answer)
{
  Runtime *runtime = answer->run->runtime;
  if (!answer->rows.mode)
    return;
  crash_or_hang(answer->rows.mode);
  usleep(1e6 * (rows_fault(&answer->rows, "SECONDS") +
                runtime->uncleared++ * fault_number("UNCLEARED_SECONDS", 0)));
  if (rows_fault(&answer->rows, "SILENT"))
    wait_for_abort(runtime);
}

/* Lose memory that is touched, so that it is there. */
static void leak(void)
{
  size_t bytes = fault_number("LEAK_MB", 0) * (1 << 20);
  if (bytes)
    explicit_bzero(malloc(bytes), bytes); /* no compiler leaves this out */
}

int generate(Run *run)
{
  leak();
  Verdict next = CUT;
  Answer answer = {.run = run, .tokens = calloc(run->limit + 1, sizeof(int32_t))};
  const char *script = fault_text("ANSWER");
  if (script) {
    answer.script = calloc(strlen(script) + 1, sizeof(int32_t));
    answer.script_length = tokenize(&run->runtime->model, script, false, answer.script);
  }
  double started = now();
  open_rows(&answer.rows, &run->runtime->model, run->mode, run->prompt.length + 1);
  crash_hang_or_be_slow(&answer);
  if (!rows_fault(&answer.rows, "SILENT")) {
    prefill(&answer);
    answer.prefill_seconds = now() - started;
    bool is_hidden = run->mode == RKLLM_INFER_GET_LAST_HIDDEN_LAYER;
    next = is_hidden ? tell_hidden(&answer) : write_answer(&answer);
  }
  if (next == GO_ON)
    emit(&answer, RKLLM_RUN_FINISH, NULL, 0);
  run->runtime->is_paused = next == PAUSED;
  close_rows(&answer.rows);
  free(answer.tokens);
  free(answer.script);
  free(answer.text);
  return next == FAILED ? -1 : 0;
}
