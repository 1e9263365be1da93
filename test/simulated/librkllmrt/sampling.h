// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* Choice of the next token. */
#ifndef SAMPLING_H
#define SAMPLING_H

#include <stdint.h>

typedef struct {
  int32_t top_k; /* 1: always the most likely token; below 1: all take part */
  float top_p;
  float temperature;
} Sampling;

int32_t pick_token(const float *logits, uint32_t count, Sampling sampling, unsigned *seed);

#endif
