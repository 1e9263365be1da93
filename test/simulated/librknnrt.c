// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/*
 * A simulated librknnrt.so: what the real rknnlite and this package call, on any processor.
 *
 * It loads a model from memory or from a path, and reads one picture. Element j of output i is
 * then 1000 * i + j plus the sum of the picture's first bytes, unless npu_graph computes the
 * outputs. The npu_* variables say what the model looks like, what shall fail, and what was given
 * to it. Written from what rknn_api.h of 2.3.2 declares.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  SUCCESS = 0, FAIL = -1, PARAM_INVALID = -5, MODEL_INVALID = -6, CTX_INVALID = -7,
  INPUT_INVALID = -8, OUTPUT_INVALID = -9
};
enum { IN_OUT_NUM = 0, INPUT_ATTR = 1, OUTPUT_ATTR = 2, SDK_VERSION = 5 };
enum { FLOAT16 = 1, NHWC = 1, UNDEFINED = 3 };

typedef struct {
  uint32_t index, n_dims, dims[16];
  char name[256];
  uint32_t n_elems, size;
  int32_t fmt, type, qnt_type;
  int8_t fl;
  int32_t zp;
  float scale;
  uint32_t w_stride, size_with_stride;
  uint8_t pass_through;
  uint32_t h_stride;
} Attributes;

typedef struct {
  uint32_t index;
  void *buf;
  uint32_t size;
  uint8_t pass_through;
  int32_t type, fmt;
} Input;

typedef struct {
  uint8_t want_float, is_prealloc;
  uint32_t index;
  void *buf;
  uint32_t size;
} Output;

_Static_assert(sizeof(Attributes) == 376, "rknn_tensor_attr");
_Static_assert(sizeof(Input) == 32, "rknn_input");
_Static_assert(sizeof(Output) == 24, "rknn_output");

/* What `strings` finds in the real one, too. */
#define VERSION "2.3.2"
const char npu_marker[] = "librknnrt version: " VERSION " (simulated)";
/* Needs all 64 bits. */
#define CONTEXT UINT64_C(0x900000001)

/* the model; cores of the NPU, of which a mask may name these if there are several */
int npu_size = 32, npu_outputs = 1, npu_tokens = 16, npu_dim = 8, npu_inputs = 1, npu_cores = 3;
/* input, its bytes, its type, outputs of npu_tokens * npu_dim each */
void (*npu_graph)(const uint8_t *, int, int, float **);
/* what each returns: 0 = it works */
int npu_fail_init, npu_fail_query, npu_fail_core_mask, npu_fail_inputs, npu_fail_run;
int npu_fail_outputs, npu_fail_release;
/* a run lasts as long as it is set */
volatile int npu_hang, npu_running;
/* contexts and outputs that are not freed */
int npu_contexts, npu_held;
/* what came: -1 = never called */
int npu_flag = -1, npu_core_mask = -1, npu_model_size = -1, npu_destroyed;
int npu_input_size = -1, npu_input_type = -1, npu_input_fmt = -1, npu_pass_through = -1;
int npu_want_float = -1;
/* the manual forbids what the real rknnlite does */
int npu_extended;
uint8_t npu_input[64];
static int sum, input_bytes, input_type;
static uint8_t *input;
static float *results[16];

static int count(void)
{
  return npu_tokens * npu_dim;
}

/* Read a whole file by and by, as into the NPU's memory; return whether it is a model. */
static int is_model(const char *path)
{
  static char part[1 << 16];
  FILE *file = fopen(path, "rb");
  if (!file)
    return 0;
  size_t length = fread(part, 1, sizeof part, file);
  int is = length > 8 && (!memcmp(part, "RKNN", 4) || !memcmp(part, "CYPTRKNN", 8));
  while (is && length)
    length = fread(part, 1, sizeof part, file);
  fclose(file);
  return is;
}

int rknn_init(uint64_t *context, void *model, uint32_t size, uint32_t flag, void *extend)
{
  (void)extend;
  npu_flag = flag;
  npu_model_size = size;
  if (npu_fail_init)
    return npu_fail_init;
  if (size ? size < 4 || memcmp(model, "RKNN", 4) : !is_model(model)) {
    fputs("E RKNN: invalid model\n", stderr);
    return MODEL_INVALID;
  }
  *context = CONTEXT;
  npu_contexts++;
  return SUCCESS;
}

int rknn_destroy(uint64_t context)
{
  if (context != CONTEXT)
    return CTX_INVALID;
  npu_contexts--;
  npu_destroyed++;
  return SUCCESS;
}

static void describe(Attributes *a, int fmt, uint32_t n_dims, const uint32_t *dims)
{
  uint32_t index = a->index;
  memset(a, 0, sizeof *a);
  a->index = index;
  a->n_dims = n_dims;
  a->n_elems = 1;
  for (uint32_t i = 0; i < n_dims; i++)
    a->n_elems *= a->dims[i] = dims[i];
  a->size = a->size_with_stride = 2 * a->n_elems;
  a->type = FLOAT16;
  a->fmt = fmt;
  a->scale = 1;
}

int rknn_query(uint64_t context, int command, void *info, uint32_t size)
{
  if (context != CONTEXT)
    return CTX_INVALID;
  if (npu_fail_query)
    return npu_fail_query;
  const uint32_t picture[] = {1, npu_size, npu_size, 3}, tokens[] = {npu_tokens, npu_dim};
  switch (command) {
  case IN_OUT_NUM:
    ((uint32_t *)info)[0] = npu_inputs;
    ((uint32_t *)info)[1] = npu_outputs;
    return SUCCESS;
  case INPUT_ATTR:
    if (size != sizeof(Attributes) || *(uint32_t *)info >= (uint32_t)npu_inputs)
      return PARAM_INVALID;
    describe(info, NHWC, 4, picture);
    return SUCCESS;
  case OUTPUT_ATTR:
    if (size != sizeof(Attributes) || *(uint32_t *)info >= (uint32_t)npu_outputs)
      return PARAM_INVALID;
    describe(info, UNDEFINED, 2, tokens);
    return SUCCESS;
  case SDK_VERSION:
    memset(info, 0, size);
    strcpy(info, VERSION " (simulated)");
    strcpy((char *)info + 256, "0.9.8");
    return SUCCESS;
  default:
    /* Among them the range of shapes, which a model of one shape does not have. */
    return PARAM_INVALID;
  }
}

int rknn_set_core_mask(uint64_t context, int mask)
{
  if (context != CONTEXT)
    return CTX_INVALID;
  if (npu_fail_core_mask)
    return npu_fail_core_mask;
  if (npu_cores == 1 || mask >> npu_cores)
    return PARAM_INVALID;
  npu_core_mask = mask;
  return SUCCESS;
}

#ifndef WITHOUT_INPUT_SHAPES
int rknn_set_input_shapes(uint64_t context, uint32_t n_inputs, Attributes *attributes)
{
  (void)context, (void)n_inputs, (void)attributes;
  return SUCCESS;
}
#endif

int rknn_inputs_set(uint64_t context, uint32_t n_inputs, Input *inputs)
{
  if (context != CONTEXT)
    return CTX_INVALID;
  if (npu_fail_inputs)
    return npu_fail_inputs;
  if (n_inputs != 1 || inputs->index)
    return INPUT_INVALID;
  npu_input_size = inputs->size;
  npu_input_type = inputs->type;
  npu_input_fmt = inputs->fmt;
  npu_pass_through = inputs->pass_through;
  size_t first = inputs->size < sizeof npu_input ? inputs->size : sizeof npu_input;
  memcpy(npu_input, inputs->buf, first);
  input_bytes = inputs->size;
  input_type = inputs->type;
  input = realloc(input, input_bytes);
  memcpy(input, inputs->buf, input_bytes);
  return SUCCESS;
}

int rknn_run(uint64_t context, void *extend)
{
  if (context != CONTEXT)
    return CTX_INVALID;
  npu_running++;
  while (npu_hang)
    usleep(1000);
  npu_extended |= extend != NULL;
  if (npu_fail_run)
    return npu_fail_run;  /* and the outputs stay as they were */
  sum = 0;
  for (unsigned i = 0; i < sizeof npu_input; i++)
    sum += npu_input[i];
  for (int i = 0; i < npu_outputs; i++) {
    results[i] = realloc(results[i], count() * sizeof *results[i]);
    for (int j = 0; j < count(); j++)
      results[i][j] = 1000 * i + j + sum;
  }
  if (npu_graph)
    npu_graph(input, input_bytes, input_type, results);
  return SUCCESS;
}

int rknn_outputs_get(uint64_t context, uint32_t n_outputs, Output *outputs, void *extend)
{
  if (context != CONTEXT)
    return CTX_INVALID;
  npu_extended |= extend != NULL;
  if (npu_fail_outputs)
    return npu_fail_outputs;
  const size_t size = count() * sizeof(float);
  for (uint32_t i = 0; i < n_outputs; i++) {
    Output *output = outputs + i;
    npu_want_float = output->want_float;
    if (!output->is_prealloc) {
      output->index = i;
      output->buf = malloc(size);
      output->size = size;
    }
    if (output->index >= (uint32_t)npu_outputs || output->size < size)
      return OUTPUT_INVALID;
    if (results[output->index])
      memcpy(output->buf, results[output->index], size);
    npu_held++;
  }
  return SUCCESS;
}

int rknn_outputs_release(uint64_t context, uint32_t n_outputs, Output *outputs)
{
  if (context != CONTEXT)
    return CTX_INVALID;
  for (uint32_t i = 0; i < n_outputs; i++) {
    npu_held--;
    if (!outputs[i].is_prealloc)
      free(outputs[i].buf);
  }
  return npu_fail_release;
}
