// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/*
 * Ask questions about embeddings through the interface of rkllm.h and print every callback.
 *
 * driver MODEL EMBEDDINGS TOKENS MAX_NEW_TOKENS START END CONTENT PROMPT...
 *
 * EMBEDDINGS is a file with TOKENS x outputs x dim floats for each prompt; '' asks without an
 * image. A line for each callback: state, token, text in hexadecimal digits and, for FINISH of
 * class D and up, the numbers of tokens read and written. "run", what rkllm_run returned and, for
 * class D and up, the number of tokens in the cache end each question.
 *
 * Options in the environment:
 *   DRIVER_ABORT_AT=n     abort at the n-th callback; 0: from another thread while the prompt is
 *                         read
 *   DRIVER_RETURN=n       what the callback returns
 *   DRIVER_TEMPERATURE=x  draw among all tokens at this temperature
 *   DRIVER_KEEP_HISTORY=1, DRIVER_CLEAR=1 (the cache after each run), DRIVER_ASYNC=1
 *   DRIVER_POSTFIX=text   set a chat template with this postfix and nothing else
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rkllm.h"

static const char *const STATES[] = {"NORMAL", "WAITING", "FINISH", "ERROR"};
static LLMHandle handle;

static double option(const char *name, double otherwise)
{
  return getenv(name) ? atof(getenv(name)) : otherwise;
}

static int on_result(RKLLMResult *result, void *userdata, LLMCallState state)
{
  static int calls;
  (void)userdata;
  printf("%s %d ", STATES[state], result->token_id);
  for (const char *at = result->text; at && *at; at++)
    printf("%02x", (unsigned char)*at);
#if RKLLM_ABI >= 'D'
  if (state == RKLLM_RUN_FINISH)
    printf(" %d %d", result->perf.prefill_tokens, result->perf.generate_tokens);
#endif
  printf("\n");
  if (++calls == option("DRIVER_ABORT_AT", -1))
    rkllm_abort(handle);
  return option("DRIVER_RETURN", 0);
}

#if RKLLM_ABI < 'D'
static void on_result_only(RKLLMResult *result, void *userdata, LLMCallState state)
{
  on_result(result, userdata, state);
}
#endif

static void *abort_at_once(void *nothing)
{
  while (!rkllm_is_running(handle))
    sched_yield();
  rkllm_abort(handle);
  return nothing;
}

static const char *read_embeddings(const char *path, size_t *size)
{
  static _Alignas(float) char bytes[1 << 22];
  FILE *file = fopen(path, "rb");
  if (!file || !(*size = fread(bytes, 1, sizeof bytes, file)))
    exit(2);
  fclose(file);
  return bytes;
}

static void set_image(RKLLMMultiModalInput *input, char **argv, const char *embedding)
{
#if RKLLM_ABI >= 'E'
  input->image.image_embed = (float *)embedding;
  input->image.n_image_tokens = atoi(argv[3]);
  input->image.n_image = 1;
  input->image.image_start = argv[5];
  input->image.image_end = argv[6];
  input->image.image_content = argv[7];
  input->image.image_width = input->image.image_height = 128;
#else
  input->image_embed = (float *)embedding;
  input->n_image_tokens = atoi(argv[3]);
#if RKLLM_ABI >= 'C'
  input->n_image = 1;
  input->image_width = input->image_height = 128;
#endif
#endif
}

static int ask(char **argv, const char *prompt, const char *embedding)
{
  RKLLMInput input;
  RKLLMInferParam infer;
  memset(&input, 0, sizeof input);
  memset(&infer, 0, sizeof infer);
  infer.mode = RKLLM_INFER_GENERATE;
#if RKLLM_ABI >= 'B'
  infer.keep_history = option("DRIVER_KEEP_HISTORY", 0);
#endif
#if RKLLM_ABI >= 'D'
  input.role = "user";
#endif
#if RKLLM_ABI >= 'E'
  infer.max_new_tokens = atoi(argv[4]);
#endif
  input.input_type = embedding ? RKLLM_INPUT_MULTIMODAL : RKLLM_INPUT_PROMPT;
  if (embedding) {
    input.multimodal_input.prompt = prompt;
    set_image(&input.multimodal_input, argv, embedding);
  } else {
    input.prompt_input = prompt;
  }
  if (!option("DRIVER_ASYNC", 0))
    return rkllm_run(handle, &input, &infer, NULL);
  int status = rkllm_run_async(handle, &input, &infer, NULL);
  while (rkllm_is_running(handle))
    sched_yield();
  return status;
}

static void report(int status)
{
#if RKLLM_ABI >= 'D'
  int cached;
  rkllm_get_kv_cache_size(handle, &cached);
  printf("run %d %d\n", status, cached);
  if (option("DRIVER_CLEAR", 0))
    rkllm_clear_kv_cache(handle, 0, NULL, NULL);
#else
  printf("run %d\n", status);
#if RKLLM_ABI >= 'B'
  if (option("DRIVER_CLEAR", 0))
    rkllm_clear_kv_cache(handle, 0);
#endif
#endif
}

static int open_handle(char **argv)
{
  RKLLMParam param = rkllm_createDefaultParam();
  param.model_path = argv[1];
  param.top_k = getenv("DRIVER_TEMPERATURE") ? 0 : 1;
  param.top_p = 1;
  param.temperature = option("DRIVER_TEMPERATURE", 1);
  param.max_new_tokens = atoi(argv[4]);
  param.skip_special_token = true;
#if RKLLM_ABI < 'E'
  param.img_start = argv[5];
  param.img_end = argv[6];
  param.img_content = argv[7];
#endif
#if RKLLM_ABI >= 'E'
  RKLLMCallback callback = {.result_callback = on_result};
  return rkllm_init(&handle, &param, &callback);
#elif RKLLM_ABI >= 'D'
  return rkllm_init(&handle, &param, on_result);
#else
  return rkllm_init(&handle, &param, on_result_only);
#endif
}

static void ask_all(int count, char **argv)
{
  size_t size = 0;
  const char *embeddings = *argv[2] ? read_embeddings(argv[2], &size) : NULL;
  pthread_t aborter;
  bool aborts = option("DRIVER_ABORT_AT", -1) == 0;
  if (aborts && pthread_create(&aborter, NULL, abort_at_once, NULL) != 0)
    exit(2);
  for (int i = 0; i < count; i++)
    report(ask(argv, argv[8 + i], embeddings ? embeddings + i * (size / count) : NULL));
  if (aborts)
    pthread_join(aborter, NULL);
}

int main(int argc, char **argv)
{
  if (argc < 9)
    return 2;
  setvbuf(stdout, NULL, _IOLBF, 0); /* nothing is lost where a crash follows */
  int status = open_handle(argv);
  printf("init %d\n", status);
  if (status != 0)
    return 1;
#if RKLLM_ABI >= 'B'
  if (getenv("DRIVER_POSTFIX"))
    rkllm_set_chat_template(handle, "", "", getenv("DRIVER_POSTFIX"));
#endif
  ask_all(argc - 8, argv);
  return rkllm_destroy(handle);
}
