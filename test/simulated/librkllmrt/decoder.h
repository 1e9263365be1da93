// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* The transformer: one token in, the hidden state of this position out. */
#ifndef DECODER_H
#define DECODER_H

#include "model.h"

typedef struct {
  const Model *model;
  uint32_t context; /* tokens that there is room for */
  uint32_t length;  /* tokens read so far */
  float *keys, *values; /* (layer, context, dim) */
  float *scratch;
  float *x; /* (dim), hidden state of the newest token */
} Decoder;

void open_decoder(Decoder *decoder, const Model *model, uint32_t context);
void close_decoder(Decoder *decoder);
/* Read one token as its vector of dim floats; there must be room for it. */
void read_vector(Decoder *decoder, const float *vector);
/* Write (dim) what the logits are made of. */
void last_hidden(const Decoder *decoder, float *hidden);
/* Write (vocabulary) logits of the token after the newest one. */
void next_logits(const Decoder *decoder, float *logits);

#endif
