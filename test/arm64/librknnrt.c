/*
 * A simulated librknnrt.so: what the real rknnlite calls, with an encoder that computes nothing.
 *
 * It reads one picture and gives tensors in which element j of output i is 1000 * i + j plus the
 * sum of the picture's first bytes. The npu_* variables say what the model looks like, what shall
 * fail, and what was given to it. Written from what rknn_api.h of 2.3.2 declares.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, FAIL = -1, PARAM_INVALID = -5, MODEL_INVALID = -6 };
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

/* the model */
int npu_size = 32, npu_outputs = 1, npu_tokens = 16, npu_dim = 8;
/* 1 = fails */
int npu_fail_run, npu_fail_inputs, npu_fail_outputs;
/* what came: -1 = never called */
int npu_flag = -1, npu_core_mask = -1, npu_model_size = -1, npu_destroyed;
int npu_input_size = -1, npu_input_type = -1, npu_input_fmt = -1, npu_pass_through = -1;
int npu_want_float = -1;
uint8_t npu_input[64];
static int sum;

int rknn_init(uint64_t *context, void *model, uint32_t size, uint32_t flag, void *extend)
{
  (void)extend;
  npu_flag = flag;
  npu_model_size = size;
  if (size < 4 || memcmp(model, "RKNN", 4))
    return MODEL_INVALID;
  *context = 1;
  return SUCCESS;
}

int rknn_destroy(uint64_t context)
{
  (void)context;
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
  (void)context;
  const uint32_t picture[] = {1, npu_size, npu_size, 3}, tokens[] = {npu_tokens, npu_dim};
  switch (command) {
  case IN_OUT_NUM:
    ((uint32_t *)info)[0] = 1;
    ((uint32_t *)info)[1] = npu_outputs;
    return SUCCESS;
  case INPUT_ATTR:
    describe(info, NHWC, 4, picture);
    return SUCCESS;
  case OUTPUT_ATTR:
    describe(info, UNDEFINED, 2, tokens);
    return SUCCESS;
  case SDK_VERSION:
    memset(info, 0, size);
    strcpy(info, "2.3.2 (simulated)");
    strcpy((char *)info + 256, "0.9.8");
    return SUCCESS;
  default:
    /* Among them the range of shapes, which a model of one shape does not have. */
    return PARAM_INVALID;
  }
}

int rknn_set_core_mask(uint64_t context, int mask)
{
  (void)context;
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
  (void)context;
  if (npu_fail_inputs || n_inputs != 1)
    return FAIL;
  npu_input_size = inputs->size;
  npu_input_type = inputs->type;
  npu_input_fmt = inputs->fmt;
  npu_pass_through = inputs->pass_through;
  size_t first = inputs->size < sizeof npu_input ? inputs->size : sizeof npu_input;
  memcpy(npu_input, inputs->buf, first);
  return SUCCESS;
}

int rknn_run(uint64_t context, void *extend)
{
  (void)context, (void)extend;
  if (npu_fail_run)
    return FAIL;  /* and the outputs are those of the run before */
  sum = 0;
  for (unsigned i = 0; i < sizeof npu_input; i++)
    sum += npu_input[i];
  return SUCCESS;
}

int rknn_outputs_get(uint64_t context, uint32_t n_outputs, Output *outputs, void *extend)
{
  (void)context, (void)extend;
  if (npu_fail_outputs)
    return FAIL;
  for (uint32_t i = 0; i < n_outputs; i++) {
    int count = npu_tokens * npu_dim;
    float *values = malloc(count * sizeof *values);
    for (int j = 0; j < count; j++)
      values[j] = 1000 * i + j + sum;
    npu_want_float = outputs[i].want_float;
    outputs[i].index = i;
    outputs[i].buf = values;
    outputs[i].size = count * sizeof *values;
  }
  return SUCCESS;
}

int rknn_outputs_release(uint64_t context, uint32_t n_outputs, Output *outputs)
{
  (void)context;
  for (uint32_t i = 0; i < n_outputs; i++)
    free(outputs[i].buf);
  return SUCCESS;
}
