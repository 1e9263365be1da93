// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faults.h"

#define MAGIC "SIMRKLLM"
#define LAYOUT 1

typedef struct {
  const char *start, *at, *end;
  bool is_broken;
} Reader;

static const void *take(Reader *reader, size_t bytes)
{
  if (reader->is_broken || bytes > (size_t)(reader->end - reader->at)) {
    reader->is_broken = true;
    return NULL;
  }
  const void *here = reader->at;
  reader->at += bytes;
  return here;
}

static uint32_t take_number(Reader *reader)
{
  uint32_t number = 0;
  const void *here = take(reader, sizeof number);
  if (here)
    memcpy(&number, here, sizeof number);
  return number;
}

static Text take_text(Reader *reader)
{
  uint32_t length = take_number(reader);
  const char *bytes = take(reader, (size_t)length + 1);
  return bytes && !bytes[length] ? (Text){bytes, length} : (Text){"", 0};
}

static const float *take_floats(Reader *reader, size_t count)
{
  return take(reader, count * sizeof(float));
}

static void take_layer(Reader *reader, Layer *layer, size_t dim, size_t hidden)
{
  layer->norm1_weight = take_floats(reader, dim);
  layer->norm1_bias = take_floats(reader, dim);
  layer->qkv = take_floats(reader, dim * 3 * dim);
  layer->out = take_floats(reader, dim * dim);
  layer->norm2_weight = take_floats(reader, dim);
  layer->norm2_bias = take_floats(reader, dim);
  layer->up = take_floats(reader, dim * hidden);
  layer->up_bias = take_floats(reader, hidden);
  layer->down = take_floats(reader, hidden * dim);
  layer->down_bias = take_floats(reader, dim);
}

static bool parse(Model *model, Reader *reader)
{
  const char *magic = take(reader, strlen(MAGIC));
  if (!magic || memcmp(magic, MAGIC, strlen(MAGIC)) != 0) {
    uint32_t found = 0;
    if (magic)
      memcpy(&found, magic, sizeof found);
    log_line("E rkllm: invalid magic number, got %08x", found);
    return false;
  }
  if (take_number(reader) != LAYOUT)
    return false;
  const void *header = take(reader, sizeof model->header);
  if (!header)
    return false;
  memcpy(&model->header, header, sizeof model->header);
  model->platform = take_text(reader);
  model->toolkit = take_text(reader);
  model->system = take_text(reader);
  model->prefix = take_text(reader);
  model->postfix = take_text(reader);
  model->turn_end = take_text(reader);

  const Header *h = &model->header;
  model->tokens = calloc(h->vocabulary, sizeof *model->tokens);
  model->layers = calloc(h->layer_count, sizeof *model->layers);
  for (uint32_t i = 0; i < h->vocabulary && !reader->is_broken; i++)
    model->tokens[i] = take_text(reader);
  take(reader, -(size_t)(reader->at - reader->start) % sizeof(float)); /* floats are aligned */
  model->embed = take_floats(reader, (size_t)h->vocabulary * h->dim);
  for (uint32_t i = 0; i < h->layer_count && !reader->is_broken; i++)
    take_layer(reader, &model->layers[i], h->dim, h->hidden);
  model->norm_weight = take_floats(reader, h->dim);
  model->norm_bias = take_floats(reader, h->dim);
  model->head = take_floats(reader, (size_t)h->dim * h->vocabulary);
  return !reader->is_broken && reader->at == reader->end;
}

static void *read_file(const char *path, size_t *size)
{
  FILE *file = fopen(path, "rb");
  if (!file)
    return NULL;
  char *data = NULL;
  if (fseek(file, 0, SEEK_END) == 0) {
    *size = ftell(file);
    rewind(file);
    data = malloc(*size + 1);
    if (fread(data, 1, *size, file) != *size) {
      free(data);
      data = NULL;
    }
  }
  fclose(file);
  return data;
}

ModelStatus load_model(Model *model, const char *path)
{
  *model = (Model){0};
  size_t size = 0;
  errno = 0;
  model->file = path ? read_file(path, &size) : NULL;
  if (!model->file) {
    log_line("E rkllm: failed to open '%s': '%s'", path ? path : "(null)", strerror(errno));
    return MODEL_MISSING;
  }
  Reader reader = {.start = model->file, .at = model->file, .end = (char *)model->file + size};
  if (!parse(model, &reader)) {
    log_line("E rkllm: invalid rkllm model!");
    return MODEL_INVALID;
  }
  return MODEL_OK;
}

void free_model(Model *model)
{
  free(model->file);
  free(model->tokens);
  free(model->layers);
  *model = (Model){0};
}
