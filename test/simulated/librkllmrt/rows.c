// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

#include "rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults.h"

static float *row_of(const Rows *rows, float *data, size_t at)
{
  return data + at * rows->width;
}

static size_t size_of(const Rows *rows)
{
  return rows->width * sizeof(float);
}

void open_rows(Rows *rows, const Model *model, RKLLMInferMode mode, size_t most)
{
  *rows = (Rows){0};
  if (mode == RKLLM_INFER_GENERATE)
    return;
  bool is_hidden = mode == RKLLM_INFER_GET_LAST_HIDDEN_LAYER;
  rows->mode = is_hidden ? "HIDDEN" : "LOGITS";
  rows->width = is_hidden ? model->header.dim : model->header.vocabulary;
  rows->data = malloc(most * size_of(rows));
}

void close_rows(Rows *rows)
{
  free(rows->data);
  free(rows->handed);
}

double rows_fault(const Rows *rows, const char *name)
{
  char whole[32];
  if (!rows->mode)
    return 0;
  snprintf(whole, sizeof whole, "%s_%s", rows->mode, name);
  return fault_number(whole, 0);
}

void add_row(Rows *rows, const Decoder *decoder)
{
  float *row = row_of(rows, rows->data, rows->count);
  if (!rows->mode)
    return;
  if (rows->width == decoder->model->header.vocabulary)
    next_logits(decoder, row);
  else if (rows_fault(rows, "RAW"))
    memcpy(row, decoder->x, size_of(rows));
  else
    last_hidden(decoder, row);
  rows->count++;
}

static void reverse(const Rows *rows, float *data)
{
  float row[rows->width];
  for (size_t i = 0, j = rows->count - 1; i < j; i++, j--) {
    memcpy(row, row_of(rows, data, i), size_of(rows));
    memcpy(row_of(rows, data, i), row_of(rows, data, j), size_of(rows));
    memcpy(row_of(rows, data, j), row, size_of(rows));
  }
}

/* An answer that was asked for comes before all others. */
static void prefer(const Rows *rows, float *row, int32_t token)
{
  float highest = row[0];
  for (uint32_t i = 1; i < rows->width; i++)
    highest = fmaxf(highest, row[i]);
  row[token] = highest + 8;
}

static void be_stale(const Rows *rows, float *last, float **stale)
{
  float *newest = malloc(size_of(rows));
  memcpy(newest, last, size_of(rows));
  if (*stale && rows_fault(rows, "STALE"))
    memcpy(last, *stale, size_of(rows));
  free(*stale);
  *stale = newest;
}

static void disturb(const Rows *rows, float *data)
{
  static unsigned seed = 1;
  float noise = rows_fault(rows, "NOISE");
  for (size_t i = 0; noise && i < rows->count * rows->width; i++)
    data[i] += noise * (2.0f * rand_r(&seed) / RAND_MAX - 1);
  if (rows_fault(rows, "NAN"))
    data[rows->count * rows->width - 1] = NAN;
}

void hand_out(Rows *rows, RKLLMResult *result, int32_t token, float **stale)
{
  if (!rows->count || rows_fault(rows, "NULL"))
    return;
  float *data = rows->handed = malloc(rows->count * size_of(rows)), *first = data;
  memcpy(data, rows->data, rows->count * size_of(rows));
  float *last = row_of(rows, data, rows->count - 1);
  if (token >= 0)
    prefer(rows, last, token);
  be_stale(rows, last, stale);
  disturb(rows, data);
  if (rows_fault(rows, "REVERSED"))
    reverse(rows, data);
  int count = rows->count, lost = rows_fault(rows, "ONE") ? count - 1 : rows_fault(rows, "LOST");
  if (abs(lost) < count) {
    count -= abs(lost);
    if (lost > 0)
      first = row_of(rows, data, lost);
  }
  if (rows->mode[0] == 'H')
    result->last_hidden_layer = (RKLLMResultLastHiddenLayer){first, rows->width, count};
#if RKLLM_ABI >= 'B'
  else
    result->logits = (RKLLMResultLogits){first, rows->width, count};
#endif
}

void take_back(Rows *rows)
{
  for (size_t i = 0; rows->handed && i < rows->count * rows->width; i++)
    rows->handed[i] = NAN;
  free(rows->handed);
  rows->handed = NULL;
  rows->count = 0;
}
