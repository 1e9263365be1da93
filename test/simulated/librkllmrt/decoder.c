// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

#include "decoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void normalise(
    float *y, const float *x, const float *weight, const float *bias, uint32_t dim)
{
  float mean = 0, variance = 0;
  for (uint32_t i = 0; i < dim; i++)
    mean += x[i];
  mean /= dim;
  for (uint32_t i = 0; i < dim; i++)
    variance += (x[i] - mean) * (x[i] - mean);
  float scale = 1 / sqrtf(variance / dim + 1e-5f);
  for (uint32_t i = 0; i < dim; i++)
    y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

/* y += x W, with W (inputs, outputs): the inner loop runs along memory. */
static void add_product(
    float *restrict y, const float *x, const float *restrict w, uint32_t inputs,
    uint32_t outputs)
{
  for (uint32_t i = 0; i < inputs; i++, w += outputs)
    for (uint32_t o = 0; o < outputs; o++)
      y[o] += x[i] * w[o];
}

static void rotate(float *x, uint32_t heads, uint32_t size, uint32_t position)
{
  uint32_t half = size / 2;
  for (uint32_t i = 0; i < half; i++) {
    float angle = position * powf(10000.0f, -(float)i / half);
    float c = cosf(angle), s = sinf(angle);
    for (uint32_t head = 0; head < heads; head++) {
      float *a = x + head * size + i, *b = a + half;
      float first = *a, second = *b;
      *a = first * c - second * s;
      *b = first * s + second * c;
    }
  }
}

/* Write what one head sees of the first `length` keys and values, which are `stride` apart. */
static void attend(
    float *seen, const float *query, const float *keys, const float *values, uint32_t length,
    uint32_t size, uint32_t stride, float *weights)
{
  float highest = -INFINITY, sum = 0;
  for (uint32_t t = 0; t < length; t++) {
    float score = 0;
    for (uint32_t i = 0; i < size; i++)
      score += query[i] * keys[(size_t)t * stride + i];
    weights[t] = score / sqrtf(size);
    highest = fmaxf(highest, weights[t]);
  }
  memset(seen, 0, size * sizeof *seen);
  for (uint32_t t = 0; t < length; t++) {
    float weight = expf(weights[t] - highest);
    sum += weight;
    for (uint32_t i = 0; i < size; i++)
      seen[i] += weight * values[(size_t)t * stride + i];
  }
  for (uint32_t i = 0; i < size; i++)
    seen[i] /= sum;
}

static float gelu(float x)
{
  return 0.5f * x * (1 + erff(x / sqrtf(2)));
}

void open_decoder(Decoder *decoder, const Model *model, uint32_t context)
{
  const Header *h = &model->header;
  size_t cache = (size_t)h->layer_count * context * h->dim;
  *decoder = (Decoder){.model = model, .context = context};
  decoder->keys = malloc(cache * sizeof(float));
  decoder->values = malloc(cache * sizeof(float));
  decoder->scratch = malloc((5 * h->dim + h->hidden + context) * sizeof(float));
  decoder->x = malloc(h->dim * sizeof(float));
}

void close_decoder(Decoder *decoder)
{
  free(decoder->keys);
  free(decoder->values);
  free(decoder->scratch);
  free(decoder->x);
}

static void run_layer(Decoder *decoder, const Layer *layer, float *keys, float *values)
{
  const Header *h = &decoder->model->header;
  uint32_t dim = h->dim, size = dim / h->heads, position = decoder->length;
  float *x = decoder->x, *normal = decoder->scratch, *seen = normal + dim;
  float *qkv = seen + dim, *hidden = qkv + 3 * dim, *weights = hidden + h->hidden;

  normalise(normal, x, layer->norm1_weight, layer->norm1_bias, dim);
  memset(qkv, 0, 3 * dim * sizeof *qkv);
  add_product(qkv, normal, layer->qkv, dim, 3 * dim);
  rotate(qkv, h->heads, size, position);
  rotate(qkv + dim, h->heads, size, position);
  memcpy(keys + (size_t)position * dim, qkv + dim, dim * sizeof *keys);
  memcpy(values + (size_t)position * dim, qkv + 2 * dim, dim * sizeof *values);
  for (uint32_t at = 0; at < dim; at += size)
    attend(seen + at, qkv + at, keys + at, values + at, position + 1, size, dim, weights);
  add_product(x, seen, layer->out, dim, dim);

  normalise(normal, x, layer->norm2_weight, layer->norm2_bias, dim);
  memcpy(hidden, layer->up_bias, h->hidden * sizeof *hidden);
  add_product(hidden, normal, layer->up, dim, h->hidden);
  for (uint32_t i = 0; i < h->hidden; i++)
    hidden[i] = gelu(hidden[i]);
  for (uint32_t i = 0; i < dim; i++)
    x[i] += layer->down_bias[i];
  add_product(x, hidden, layer->down, h->hidden, dim);
}

void read_vector(Decoder *decoder, const float *vector)
{
  const Header *h = &decoder->model->header;
  size_t stride = (size_t)decoder->context * h->dim;
  memcpy(decoder->x, vector, h->dim * sizeof *vector);
  for (uint32_t i = 0; i < h->layer_count; i++)
    run_layer(
        decoder, &decoder->model->layers[i], decoder->keys + i * stride,
        decoder->values + i * stride);
  decoder->length++;
}

void last_hidden(const Decoder *decoder, float *hidden)
{
  const Model *model = decoder->model;
  normalise(
      hidden, decoder->x, model->norm_weight, model->norm_bias, model->header.dim);
}

void next_logits(const Decoder *decoder, float *logits)
{
  const Model *model = decoder->model;
  uint32_t dim = model->header.dim, vocabulary = model->header.vocabulary;
  float *normal = decoder->scratch;
  last_hidden(decoder, normal);
  memset(logits, 0, vocabulary * sizeof *logits);
  add_product(logits, normal, model->head, dim, vocabulary);
}
