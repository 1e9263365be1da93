// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

#include "reuse.h"

#include <string.h>

#include "faults.h"

static uint64_t mixed(uint64_t hash, const void *data, size_t size)
{
  for (size_t i = 0; i < size; i++)
    hash = (hash ^ ((const unsigned char *)data)[i]) * 0x100000001b3;
  return hash;
}

static const float *vector_of(const Run *run, size_t at)
{
  const Runtime *runtime = run->runtime;
  const Header *h = &runtime->model.header;
  int32_t row = run->prompt.rows[at];
  if (row >= 0)
    return runtime->image + (size_t)row * h->outputs * h->dim; /* the first of the outputs */
  return runtime->model.embed + (size_t)run->prompt.tokens[at] * h->dim;
}

/* What tells one input from another: its numbers, or what a fault takes for them. */
static uint64_t mark_of(const Run *run, size_t at)
{
  int32_t row = run->prompt.rows[at];
  uint64_t hash = mixed(0xcbf29ce484222325, &row, sizeof row);
  if (row >= 0 && fault("REUSE_ANY_IMAGE"))
    return hash;
  if (row >= 0 && fault("REUSE_BY_POINTER"))
    return mixed(hash, &run->embed, sizeof run->embed);
  const Runtime *runtime = run->runtime;
  return mixed(hash, vector_of(run, at), runtime->model.header.dim * sizeof(float));
}

static void read_marked(Runtime *runtime, const float *vector, uint64_t mark)
{
  runtime->marks[runtime->decoder.length] = mark;
  read_vector(&runtime->decoder, vector);
}

void read_token(const Run *run, size_t at)
{
  read_marked(run->runtime, vector_of(run, at), mark_of(run, at));
}

void read_written(Runtime *runtime, int32_t token)
{
  const float *vector = runtime->model.embed + (size_t)token * runtime->model.header.dim;
  int32_t row = -1;
  uint64_t hash = mixed(0xcbf29ce484222325, &row, sizeof row);
  read_marked(
      runtime, vector, mixed(hash, vector, runtime->model.header.dim * sizeof(float)));
}

void reuse(Run *run)
{
  Runtime *runtime = run->runtime;
  size_t held = runtime->decoder.length, most = run->prompt.length - 1;
  if (run->keep_history)
    return;
  if (RKLLM_ABI < 'D' || fault("NO_REUSE"))
    held = 0;
  while (run->reused < held && run->reused < most &&
         runtime->marks[run->reused] == mark_of(run, run->reused))
    run->reused++;
  if (run->reused)
    crash_or_hang("REUSE");
  if (run->reused && fault("REUSE_KEEPS_QUESTION") && held + run->prompt.length - run->reused <
      runtime->decoder.context)
    return;
  runtime->decoder.length = run->reused;
}
