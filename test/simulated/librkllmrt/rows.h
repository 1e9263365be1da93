// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/*
 * What the modes 1 and 2 hand out beside the text: for each token read a row, the hidden state or
 * the logits of the next token.
 */
#ifndef ROWS_H
#define ROWS_H

#include "decoder.h"
#include "rkllm.h"

typedef struct {
  const char *mode; /* HIDDEN or LOGITS, as the names of its faults begin; NULL: no rows */
  uint32_t width;
  size_t count; /* rows that were not handed out yet */
  float *data;
  float *handed; /* a copy of them, while the callback runs */
} Rows;

void open_rows(Rows *rows, const Model *model, RKLLMInferMode mode, size_t most);
void close_rows(Rows *rows);
/* The number that SIMRKLLM_<mode>_<fault> has, otherwise 0. */
double rows_fault(const Rows *rows, const char *fault);
/* Note what comes after the newest token. */
void add_row(Rows *rows, const Decoder *decoder);
/*
 * Write into a result what has been noted, or what the faults make of it; `token`, if not
 * negative, is what comes next, and `stale` keeps the last row until the next run.
 */
void hand_out(Rows *rows, RKLLMResult *result, int32_t token, float **stale);
/* Overwrite what was handed out: it was the runtime's. */
void take_back(Rows *rows);

#endif
