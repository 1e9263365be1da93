// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

#include "sampling.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
  int32_t token;
  float logit;
} Candidate;

static int by_logit(const void *a, const void *b)
{
  float first = ((const Candidate *)a)->logit, second = ((const Candidate *)b)->logit;
  return (first < second) - (first > second);
}

static int32_t most_likely(const float *logits, uint32_t count)
{
  uint32_t best = 0;
  for (uint32_t i = 1; i < count; i++)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

int32_t pick_token(const float *logits, uint32_t count, Sampling sampling, unsigned *seed)
{
  if (sampling.top_k == 1 || sampling.temperature <= 0)
    return most_likely(logits, count);
  Candidate candidates[count];
  for (uint32_t i = 0; i < count; i++)
    candidates[i] = (Candidate){i, logits[i]};
  qsort(candidates, count, sizeof *candidates, by_logit);
  if (sampling.top_k > 0 && (uint32_t)sampling.top_k < count)
    count = sampling.top_k;

  double weights[count], total = 0, kept = 0;
  for (uint32_t i = 0; i < count; i++)
    total += weights[i] =
        exp((candidates[i].logit - candidates[0].logit) / (double)sampling.temperature);
  uint32_t last = 0;
  while (kept += weights[last], kept < sampling.top_p * total && last + 1 < count)
    last++;
  double drawn = kept * (rand_r(seed) / (RAND_MAX + 1.0));
  uint32_t i = 0;
  while (i < last && (drawn -= weights[i]) >= 0)
    i++;
  return candidates[i].token;
}
