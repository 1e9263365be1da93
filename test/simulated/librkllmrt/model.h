// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* The simulated .rkllm file, as test/simulated/weights.py writes it. */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  const char *bytes; /* NUL follows */
  uint32_t length;
} Text;

/* Matrices are (inputs, outputs), row by row. */
typedef struct {
  const float *norm1_weight, *norm1_bias, *qkv, *out;
  const float *norm2_weight, *norm2_bias, *up, *up_bias, *down, *down_bias;
} Layer;

typedef struct {
  uint32_t context_limit;
  uint32_t dim;
  uint32_t outputs; /* vectors of dim floats that an image token is made of */
  uint32_t layer_count;
  uint32_t heads;
  uint32_t hidden;
  uint32_t vocabulary;
  uint32_t first_special, special_count, eos;
  uint32_t lowercase; /* the prompt is lower-cased */
} Header;

typedef struct {
  void *file;
  Header header;
  Text platform, toolkit;
  Text system, prefix, postfix; /* the default chat template */
  Text turn_end;                /* between an answer and the next question of a dialogue */
  Text *tokens;
  Layer *layers;
  const float *embed, *norm_weight, *norm_bias, *head;
} Model;

typedef enum { MODEL_OK, MODEL_MISSING, MODEL_INVALID } ModelStatus;

/* Logs what is wrong; free the model in any case. */
ModelStatus load_model(Model *model, const char *path);
void free_model(Model *model);

#endif
