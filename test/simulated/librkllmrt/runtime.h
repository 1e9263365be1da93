// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* What lies behind an LLMHandle, and one run of it. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <pthread.h>

#include "decoder.h"
#include "model.h"
#include "prompt.h"
#include "rkllm.h"
#include "rows.h"
#include "sampling.h"

typedef struct {
  Model model;
  bool is_loaded; /* false only where 1.1.x took a file that is no model */
  Decoder decoder;
  uint64_t *marks; /* of what the decoder has read, see reuse.c */
  Template chat;
  Images tags; /* classes A to D: start, end and content of rkllm_init */
  Sampling sampling;
  int32_t max_new_tokens;
  bool skip_special_token;
  bool ignore_eos_token;
  LLMResultCallback callback;
  void *userdata;
  float *image; /* embeddings of the newest run that had any, NULL after the cache was cleared */
  size_t image_size;
  float *stale[3]; /* by mode: the last row of the run before */
  int batches;
  int uncleared;  /* runs with rows since the cache was cleared */
  bool is_paused; /* the next run goes on with the answer, whatever it asks */
  unsigned seed;

  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t aborted;
  bool is_running;
  bool is_prefilling;
  bool is_aborted;
} Runtime;

typedef struct {
  Runtime *runtime;
  Prompt prompt;
  RKLLMInferMode mode;
  Sampling sampling;
  int32_t limit; /* new tokens at most */
  bool keep_history;
  const float *embed; /* as the request names it */
  size_t reused;      /* tokens of the prompt that the cache held */
  void *userdata;
} Run;

/* Read the prompt and write the answer to the callback; return what rkllm_run returns. */
int generate(Run *run);

#endif
