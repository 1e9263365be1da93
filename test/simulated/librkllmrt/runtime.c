// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* The exported functions. */
#include "runtime.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"
#include "reuse.h"
#include "tokenizer.h"

#define PLATFORM "RK3588"
#if RKLLM_ABI >= 'B' /* no such marker is known of 1.1.x */
#define MARKER "RKLLM SDK (version: " RKLLM_VERSION " | target: " PLATFORM " | build: simulated)"
#else
#define MARKER "no version marker"
#endif

static void set_text(const char **at, const char *text)
{
  char *copy = strdup(text ? text : "");
  free((char *)*at);
  *at = copy;
}

static int failed(const char *what)
{
  log_line("E rkllm: simulated runtime: %s", what);
  return -1;
}

RKLLMParam rkllm_createDefaultParam(void)
{
  return (RKLLMParam){
      .max_context_len = 512,
      .max_new_tokens = -1,
      .top_k = 40,
      .top_p = 0.9f,
      .temperature = 0.8f,
      .repeat_penalty = 1.1f,
      .mirostat_tau = 5.0f,
      .mirostat_eta = 0.1f,
#if RKLLM_ABI < 'E'
      .img_start = "",
      .img_end = "",
      .img_content = "",
#endif
#if RKLLM_ABI >= 'B'
      .extend_param.enabled_cpus_num = 4,
      .extend_param.enabled_cpus_mask = 0xF0,
#endif
#if RKLLM_ABI >= 'D'
      .extend_param.n_batch = 1,
#endif
  };
}

/* --- rkllm_init --- */

/* Whether version a, such as 1.2.1b1, is newer than b; a beta is older than its release. */
static bool is_newer(const char *a, const char *b)
{
  while (*a || *b) {
    if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
      char *after_a, *after_b;
      long first = strtol(a, &after_a, 10), second = strtol(b, &after_b, 10);
      if (first != second)
        return first > second;
      a = after_a;
      b = after_b;
    } else if (*a != *b) {
      return *b == 'b' || (*a && *a != 'b');
    } else {
      a++;
      b++;
    }
  }
  return false;
}

static const char *platform(void)
{
  const char *other = fault_text("PLATFORM");
  return other ? other : PLATFORM;
}

static bool model_fits(const Model *model)
{
  if (model->toolkit.length && is_newer(model->toolkit.bytes, RKLLM_VERSION)) {
    log_line(
        "E rkllm: The rkllm-runtime version is lower than the rkllm-toolkit version (%s < %s)",
        RKLLM_VERSION, model->toolkit.bytes);
    return false;
  }
  if (strcasecmp(model->platform.bytes, platform()) != 0) {
    log_line(
        "E rkllm: simulated runtime: the target platform of the model is %s, this is %s",
        model->platform.bytes, platform());
    return false;
  }
  return true;
}

/* 1.1.x says 0 although it could not use the file, and crashes at the next run. */
static bool takes_bad_models(void)
{
  if (RKLLM_ABI > 'A')
    return false;
  log_line("E RKNN: invalid rknn llm model magic");
  log_line("E RKNN: load model file error!");
  log_line("E RKNN: rknn_init fail! ret=-1");
  return true;
}

static bool load(Runtime *runtime, const RKLLMParam *param)
{
  ModelStatus status = load_model(&runtime->model, param->model_path);
  if (status == MODEL_MISSING)
    return false;
  if (status == MODEL_INVALID || !model_fits(&runtime->model))
    return takes_bad_models();
  int32_t limit = runtime->model.header.context_limit;
  if (param->max_context_len > limit) {
    log_line(
        "E rkllm: max_context[%d] must be less than the model's max_context_limit[%d]",
        param->max_context_len, limit);
    return false;
  }
  runtime->is_loaded = true;
  open_decoder(&runtime->decoder, &runtime->model, param->max_context_len);
  runtime->marks = calloc(param->max_context_len, sizeof *runtime->marks);
  return true;
}

static bool param_is_sound(const RKLLMParam *param)
{
#if RKLLM_ABI >= 'B'
  const RKLLMExtendParam *extend = &param->extend_param;
  if (__builtin_popcount(extend->enabled_cpus_mask) != extend->enabled_cpus_num) {
    failed("enabled_cpus_mask must have as many bits as enabled_cpus_num");
    return false;
  }
#endif
  if (param->max_context_len < 1)
    failed("max_context_len must be at least 1");
  return param->max_context_len >= 1;
}

static void take_param(Runtime *runtime, const RKLLMParam *param)
{
  runtime->sampling = (Sampling){param->top_k, param->top_p, param->temperature};
  runtime->max_new_tokens = param->max_new_tokens;
  runtime->skip_special_token = param->skip_special_token;
#if RKLLM_ABI >= 'D'
  runtime->batches = param->extend_param.n_batch;
#endif
#if RKLLM_ABI >= 'E'
  runtime->ignore_eos_token = param->ignore_eos_token;
#else
  set_text(&runtime->tags.start, param->img_start);
  set_text(&runtime->tags.end, param->img_end);
  set_text(&runtime->tags.content, param->img_content);
#endif
#if RKLLM_ABI >= 'B'
  set_text(&runtime->chat.system, runtime->model.system.bytes);
  set_text(&runtime->chat.prefix, runtime->model.prefix.bytes);
  set_text(&runtime->chat.postfix, runtime->model.postfix.bytes);
#else
  set_text(&runtime->chat.system, "");
  set_text(&runtime->chat.prefix, "");
  set_text(&runtime->chat.postfix, "");
#endif
}

static void free_runtime(Runtime *runtime)
{
  close_decoder(&runtime->decoder);
  free_model(&runtime->model);
  free((char *)runtime->chat.system);
  free((char *)runtime->chat.prefix);
  free((char *)runtime->chat.postfix);
  free((char *)runtime->tags.start);
  free((char *)runtime->tags.end);
  free((char *)runtime->tags.content);
  free(runtime->image);
  free(runtime->marks);
  for (int mode = 0; mode < 3; mode++)
    free(runtime->stale[mode]);
  pthread_mutex_destroy(&runtime->lock);
  pthread_cond_destroy(&runtime->aborted);
  free(runtime);
}

static Runtime *new_runtime(void)
{
  Runtime *runtime = calloc(1, sizeof *runtime);
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  runtime->seed = time.tv_nsec;
  pthread_condattr_t clock;
  pthread_condattr_init(&clock);
  pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
  pthread_cond_init(&runtime->aborted, &clock);
  pthread_condattr_destroy(&clock);
  pthread_mutex_init(&runtime->lock, NULL);
  return runtime;
}

static void log_versions(void)
{
  const char *version = fault_text("VERSION"), *driver = fault_text("DRIVER");
  log_line("I rkllm: simulated runtime, %s", MARKER);
  log_line(
      "I rkllm: rkllm-runtime version: %s, rknpu driver version: %s, platform: %s",
      version ? version : RKLLM_VERSION, driver ? driver : "0.9.8", platform());
}

static int init(LLMHandle *handle, const RKLLMParam *param, LLMResultCallback callback,
                void *userdata)
{
  log_versions();
  usleep(fault_number("INIT_SECONDS", 0) * 1e6);
  crash_or_hang("INIT");
  Runtime *runtime = new_runtime();
  runtime->callback = callback;
  runtime->userdata = userdata;
  if (fault("INIT_FAIL") || !callback || !param_is_sound(param) || !load(runtime, param)) {
    log_line("E rkllm: rkllm_init failed");
    free_runtime(runtime);
    return -1;
  }
  if (runtime->is_loaded)
    take_param(runtime, param);
  *handle = runtime;
  return 0;
}

#if RKLLM_ABI >= 'E'
int rkllm_init(LLMHandle *handle, RKLLMParam *param, RKLLMCallback *callback)
{
  return init(handle, param, callback->result_callback, callback->result_userdata);
}
#else
int rkllm_init(LLMHandle *handle, RKLLMParam *param, LLMResultCallback callback)
{
  return init(handle, param, callback, NULL);
}
#endif

static bool is_running(Runtime *runtime)
{
  pthread_mutex_lock(&runtime->lock);
  bool running = runtime->is_running;
  pthread_mutex_unlock(&runtime->lock);
  return running;
}

int rkllm_is_running(LLMHandle handle)
{
  return is_running(handle);
}

int rkllm_destroy(LLMHandle handle)
{
  if (is_running(handle)) {
    failed("destroyed while it runs");
    abort();
  }
  free_runtime(handle);
  return 0;
}

/* --- rkllm_run --- */

static const char *text_or_empty(const char *text)
{
  return text ? text : "";
}

#if RKLLM_ABI >= 'E'
static Images videos_of(const RKLLMMultiModalInput *input)
{
  return (Images){
      .embed = input->video.video_embed,
      .mark = "<video>",
      .count = input->video.n_video,
      .tokens = input->video.n_frame_tokens * input->video.n_frame_per_video,
      .start = text_or_empty(input->video.video_start),
      .end = text_or_empty(input->video.video_end),
      .content = text_or_empty(input->video.video_content),
  };
}
#endif

/* The frames of a video become one image with the tokens of all of them. */
static Images images_of(const Runtime *runtime, const RKLLMMultiModalInput *input)
{
#if RKLLM_ABI >= 'E'
  (void)runtime;
  if (input->video.n_video)
    return videos_of(input);
  return (Images){
      .embed = input->image.image_embed,
      .mark = "<image>",
      .count = input->image.n_image,
      .tokens = input->image.n_image_tokens,
      .start = text_or_empty(input->image.image_start),
      .end = text_or_empty(input->image.image_end),
      .content = text_or_empty(input->image.image_content),
  };
#else
  Images images = runtime->tags;
  images.embed = input->image_embed;
  images.mark = "<image>";
  images.tokens = input->n_image_tokens;
  images.count = 1;
#if RKLLM_ABI >= 'C'
  /* One mark stands for all frames; these runtimes know no several pictures. */
  images.tokens *= input->n_image;
#endif
  return images;
#endif
}

static const char *wrong_with_images(const RKLLMMultiModalInput *input, const Images *images)
{
  if (!input->prompt || !count_marks(input->prompt, images->mark))
    return "a multimodal prompt must contain <image> or <video>";
  if (!images->embed || !images->tokens)
    return "a multimodal prompt needs image_embed and n_image_tokens";
#if RKLLM_ABI >= 'E'
  bool has_size = input->video.n_video ? input->video.frame_width && input->video.frame_height
                                       : input->image.image_width && input->image.image_height;
  if (!has_size)
    return "width and height of images and frames must not be 0";
#elif RKLLM_ABI >= 'C'
  if (!input->image_width || !input->image_height)
    return "image_width and image_height must not be 0";
#endif
  if (images->count != count_marks(input->prompt, images->mark))
    return "there must be as many images or videos as marks in the prompt";
  return NULL;
}

static const char *wrong_with_request(const RKLLMInput *input, const RKLLMInferParam *param)
{
#if RKLLM_ABI >= 'B'
  bool is_known = param->mode <= RKLLM_INFER_GET_LOGITS;
#else
  bool is_known = param->mode <= RKLLM_INFER_GET_LAST_HIDDEN_LAYER;
#endif
  if (!is_known)
    return "there is no such mode";
#if RKLLM_ABI >= 'D'
  if (!input->role || (strcmp(input->role, "user") != 0 && strcmp(input->role, "tool") != 0))
    return "the role must be user or tool";
#endif
  if (input->input_type == RKLLM_INPUT_PROMPT && !input->prompt_input)
    return "the prompt is NULL";
  if (input->input_type == RKLLM_INPUT_TOKEN && !input->token_input.n_tokens)
    return "there are no tokens";
  if (input->input_type == RKLLM_INPUT_EMBED)
    return "RKLLM_INPUT_EMBED is not simulated";
  return NULL;
}

/* Copy the embeddings, so that they need not outlive the call. */
static void keep_images(Runtime *runtime, const Images *images)
{
  const Header *h = &runtime->model.header;
  size_t size = images->count * images->tokens * h->outputs * h->dim * sizeof(float);
  if (fault("STALE_IMAGE") && runtime->image && runtime->image_size == size)
    return;
  runtime->image = realloc(runtime->image, size);
  runtime->image_size = size;
  memcpy(runtime->image, images->embed, size);
}

static const char *read_input(Runtime *runtime, Run *run, const RKLLMInput *input)
{
  Template chat = runtime->chat;
  if (run->keep_history && runtime->decoder.length > 0)
    chat.system = runtime->model.turn_end.bytes;
  if (input->input_type == RKLLM_INPUT_TOKEN) {
    take_tokens(&run->prompt, input->token_input.input_ids, input->token_input.n_tokens);
    return NULL;
  }
  if (input->input_type == RKLLM_INPUT_PROMPT)
    return make_prompt(&run->prompt, &runtime->model, chat, input->prompt_input, NULL);
  const RKLLMMultiModalInput *multimodal = &input->multimodal_input;
  Images images = images_of(runtime, multimodal);
  const char *wrong = wrong_with_images(multimodal, &images);
  if (wrong)
    return wrong;
  run->embed = images.embed;
  wrong = make_prompt(&run->prompt, &runtime->model, chat, multimodal->prompt, &images);
  if (!wrong)
    keep_images(runtime, &images);
  return wrong;
}

static void read_param(Runtime *runtime, Run *run, const RKLLMInferParam *param)
{
  run->mode = param->mode;
  run->sampling = runtime->sampling;
  run->limit = runtime->max_new_tokens > 0 ? runtime->max_new_tokens
                                           : (int32_t)runtime->decoder.context;
#if RKLLM_ABI >= 'B'
  run->keep_history = param->keep_history;
#endif
#if RKLLM_ABI >= 'E'
  const RKLLMSamplingParam *other = param->sampling_params;
  if (other)
    run->sampling = (Sampling){other->top_k, other->top_p, other->temperature};
  if (param->max_new_tokens > 0)
    run->limit = param->max_new_tokens;
#endif
  (void)param;
}

/* The real ones stumble, too, when the context is full; generation.c sees to a long answer. */
static bool fits_context(const Runtime *runtime, const Run *run)
{
  uint32_t held = run->keep_history ? runtime->decoder.length : 0;
  int64_t room = (int64_t)runtime->decoder.context - held - run->prompt.length;
  if (room > 0)
    return true;
  log_line(
      "E rkllm: simulated runtime: %u + %zu tokens do not fit into the context of %u",
      held, run->prompt.length, runtime->decoder.context);
  if (RKLLM_ABI < 'F')
    abort();
  return false;
}

static bool start_running(Runtime *runtime)
{
  pthread_mutex_lock(&runtime->lock);
  bool was_running = runtime->is_running;
  if (!was_running) {
    runtime->is_running = runtime->is_prefilling = true;
    runtime->is_aborted = false;
  }
  pthread_mutex_unlock(&runtime->lock);
  return !was_running;
}

static int end_run(Run *run, int status)
{
  Runtime *runtime = run->runtime;
  pthread_mutex_lock(&runtime->lock);
  runtime->is_running = false;
  pthread_mutex_unlock(&runtime->lock);
  free_prompt(&run->prompt);
  free(run);
  return status;
}

static void report_error(const Run *run)
{
  Runtime *runtime = run->runtime;
  RKLLMResult result = {0};
  runtime->callback(
      &result, run->userdata ? run->userdata : runtime->userdata, RKLLM_RUN_ERROR);
}

static bool refuses_mode(const Runtime *runtime, const RKLLMInferParam *param)
{
  if (param->mode == RKLLM_INFER_GENERATE)
    return false;
  if (param->mode != RKLLM_INFER_GET_LAST_HIDDEN_LAYER && runtime->batches > 1) {
    failed("Getting the logits is not supported for multiple batches.");
    return true;
  }
  return fault(param->mode == RKLLM_INFER_GET_LAST_HIDDEN_LAYER ? "HIDDEN_FAIL" : "LOGITS_FAIL");
}

/* The mask that 1.2.3 makes for tokens behind a kept prefix has a wrong size. */
static void crash_on_prefix(
    const Runtime *runtime, const RKLLMInput *input, const RKLLMInferParam *param)
{
  bool is_on_prefix = param->mode > RKLLM_INFER_GET_LAST_HIDDEN_LAYER &&
                      input->input_type == RKLLM_INPUT_TOKEN && runtime->decoder.length;
  if (RKLLM_ABI == 'D' && is_on_prefix) {
    log_line("GGML_ASSERT(mask->ne[0] == a->ne[0])");
    raise(SIGSEGV);
  }
}

/* Return a run that is ready to generate; NULL with the status if there is none. */
static Run *prepare(
    Runtime *runtime, const RKLLMInput *input, const RKLLMInferParam *param, void *userdata,
    int *status)
{
  *status = -1;
  if (!runtime->is_loaded) {
    failed("run without a model");
    abort();
  }
  if (!start_running(runtime)) {
    failed("run while another run is going on");
    return NULL;
  }
  Run *run = calloc(1, sizeof *run);
  run->runtime = runtime;
  run->userdata = userdata;
  bool fails = fault("RUN_FAIL") || refuses_mode(runtime, param);
  if (fails || fault("SILENT")) {
    *status = end_run(run, fails ? -1 : 0);
    return NULL;
  }
  read_param(runtime, run, param);
  if (runtime->is_paused)
    return run;
  crash_on_prefix(runtime, input, param);
  const char *wrong = wrong_with_request(input, param);
  if (!wrong)
    wrong = read_input(runtime, run, input);
  if (wrong) {
    failed(wrong);
    report_error(run);
  }
  if (wrong || !fits_context(runtime, run)) {
    end_run(run, -1);
    return NULL;
  }
  reuse(run);
  return run;
}

int rkllm_run(LLMHandle handle, RKLLMInput *input, RKLLMInferParam *param, void *userdata)
{
  int status;
  Run *run = prepare(handle, input, param, userdata, &status);
  return run ? end_run(run, generate(run)) : status;
}

static void *generate_alone(void *run)
{
  end_run(run, generate(run));
  return NULL;
}

int rkllm_run_async(LLMHandle handle, RKLLMInput *input, RKLLMInferParam *param, void *userdata)
{
  int status;
  Run *run = prepare(handle, input, param, userdata, &status);
  pthread_t thread;
  if (!run)
    return status;
  if (pthread_create(&thread, NULL, generate_alone, run) != 0)
    return end_run(run, -1);
  pthread_detach(thread);
  return 0;
}

int rkllm_abort(LLMHandle handle)
{
  Runtime *runtime = handle;
  pthread_mutex_lock(&runtime->lock);
  if (!runtime->is_prefilling || !fault("ABORT_IGNORES_PREFILL")) {
    runtime->is_aborted = true;
    pthread_cond_broadcast(&runtime->aborted);
  }
  pthread_mutex_unlock(&runtime->lock);
  return 0;
}

/* --- chat template and cache --- */

#if RKLLM_ABI >= 'B'
int rkllm_set_chat_template(
    LLMHandle handle, const char *system_prompt, const char *prompt_prefix,
    const char *prompt_postfix)
{
  Runtime *runtime = handle;
  set_text(&runtime->chat.system, system_prompt);
  set_text(&runtime->chat.prefix, prompt_prefix);
  set_text(&runtime->chat.postfix, prompt_postfix);
  return 0;
}

static void clear(Runtime *runtime, bool keep_system_prompt)
{
  const char *system = runtime->chat.system;
  if (fault("CLEAR_KEEPS"))
    return;
  int32_t tokens[strlen(system) + 1];
  size_t kept = tokenize(&runtime->model, system, runtime->model.header.lowercase, tokens);
  if (!keep_system_prompt)
    kept = 0;
  if (runtime->decoder.length > kept)
    runtime->decoder.length = kept;
  free(runtime->image);
  runtime->image = NULL;
  runtime->uncleared = 0;
  runtime->is_paused = false;
}
#endif

#if RKLLM_ABI == 'B' || RKLLM_ABI == 'C'
int rkllm_clear_kv_cache(LLMHandle handle, int keep_system_prompt)
{
  clear(handle, keep_system_prompt);
  return 0;
}
#endif

#if RKLLM_ABI >= 'D'
int rkllm_clear_kv_cache(LLMHandle handle, int keep_system_prompt, int *start_pos, int *end_pos)
{
  if (start_pos || end_pos)
    return failed("clearing a part of the cache is not simulated");
  clear(handle, keep_system_prompt);
  return 0;
}

int rkllm_get_kv_cache_size(LLMHandle handle, int *cache_sizes)
{
  cache_sizes[0] = ((Runtime *)handle)->decoder.length;
  return 0;
}

int rkllm_set_function_tools(
    LLMHandle handle, const char *system_prompt, const char *tools,
    const char *tool_response_str)
{
  (void)handle, (void)system_prompt, (void)tools, (void)tool_response_str;
  return failed("function tools are not simulated");
}

int rkllm_set_cross_attn_params(LLMHandle handle, RKLLMCrossAttnParam *params)
{
  (void)handle, (void)params;
  return failed("cross attention is not simulated");
}
#endif

/* --- LoRA adapters and prompt caches in files --- */

int rkllm_load_lora(LLMHandle handle, RKLLMLoraAdapter *lora_adapter)
{
  (void)handle, (void)lora_adapter;
  return failed("LoRA adapters are not simulated");
}

int rkllm_load_prompt_cache(LLMHandle handle, const char *prompt_cache_path)
{
  (void)handle, (void)prompt_cache_path;
  return failed("prompt cache files are not simulated");
}

int rkllm_release_prompt_cache(LLMHandle handle)
{
  (void)handle;
  return 0;
}
