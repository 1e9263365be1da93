// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/*
 * Interface of librkllmrt.so by ABI class: compile with -DRKLLM_ABI="'D'".
 *
 *   'A' 1.1.0 to 1.1.4    'B' 1.2.0    'C' 1.2.1b1    'D' 1.2.1 to 1.2.3    'E' 1.3.0    'F' 1.3.1
 *
 * Written from published sizes and offsets, which abi.c checks; names that changed between
 * versions without a change of layout have their newest spelling.
 */
#ifndef RKLLM_H
#define RKLLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RKLLM_EXPORT __attribute__((visibility("default")))

typedef void *LLMHandle;

typedef enum {
  RKLLM_RUN_NORMAL = 0,
  RKLLM_RUN_WAITING = 1,
  RKLLM_RUN_FINISH = 2,
  RKLLM_RUN_ERROR = 3,
#if RKLLM_ABI == 'A'
  RKLLM_RUN_GET_LAST_HIDDEN_LAYER = 4,
#endif
} LLMCallState;

typedef enum {
  RKLLM_INPUT_PROMPT = 0,
  RKLLM_INPUT_TOKEN = 1,
  RKLLM_INPUT_EMBED = 2,
  RKLLM_INPUT_MULTIMODAL = 3,
} RKLLMInputType;

typedef enum {
  RKLLM_INFER_GENERATE = 0,
  RKLLM_INFER_GET_LAST_HIDDEN_LAYER = 1,
#if RKLLM_ABI >= 'B'
  RKLLM_INFER_GET_LOGITS = 2,
#endif
} RKLLMInferMode;

typedef struct {
  int32_t base_domain_id;
#if RKLLM_ABI == 'A'
  uint8_t reserved[112];
#else
  int8_t embed_flash;
  int8_t enabled_cpus_num;
  uint32_t enabled_cpus_mask;
#if RKLLM_ABI >= 'D'
  uint8_t n_batch;
  int8_t use_cross_attn;
  uint8_t reserved[104];
#else
  uint8_t reserved[106];
#endif
#endif
} RKLLMExtendParam;

typedef struct {
  const char *model_path;
  int32_t max_context_len;
  int32_t max_new_tokens;
  int32_t top_k;
#if RKLLM_ABI >= 'B'
  int32_t n_keep;
#endif
  float top_p;
  float temperature;
  float repeat_penalty;
  float frequency_penalty;
  float presence_penalty;
  int32_t mirostat;
  float mirostat_tau;
  float mirostat_eta;
  bool skip_special_token;
#if RKLLM_ABI >= 'E'
  bool ignore_eos_token;
  bool is_async;
#else
  bool is_async;
  const char *img_start;
  const char *img_end;
  const char *img_content;
#endif
  RKLLMExtendParam extend_param;
} RKLLMParam;

typedef struct {
  const char *lora_adapter_path;
  const char *lora_adapter_name;
  float scale;
} RKLLMLoraAdapter;

typedef struct {
  float *embed;
  size_t n_tokens;
} RKLLMEmbedInput;

typedef struct {
  int32_t *input_ids;
  size_t n_tokens;
} RKLLMTokenInput;

#if RKLLM_ABI >= 'E'
typedef struct {
  const char *prompt;
  struct {
    float *image_embed;
    size_t n_image_tokens;
    size_t n_image;
    const char *image_start;
    const char *image_end;
    const char *image_content;
    size_t image_width;
    size_t image_height;
  } image;
  struct {
    float *video_embed;
    size_t n_frame_tokens;
    size_t n_frame_per_video;
    size_t n_video;
    const char *video_start;
    const char *video_end;
    const char *video_content;
    size_t frame_width;
    size_t frame_height;
  } video;
#if RKLLM_ABI >= 'F'
  struct {
    float *audio_embed;
    size_t n_audio_tokens;
    size_t n_audio;
    const char *audio_start;
    const char *audio_end;
    const char *audio_content;
  } audio;
#endif
} RKLLMMultiModalInput;
#else
typedef struct {
  const char *prompt;
  float *image_embed;
  size_t n_image_tokens;
#if RKLLM_ABI >= 'C'
  size_t n_image;
  size_t image_width;
  size_t image_height;
#endif
} RKLLMMultiModalInput;
#endif

typedef struct {
#if RKLLM_ABI >= 'D'
  const char *role;
  bool enable_thinking;
#endif
  RKLLMInputType input_type;
  union {
    const char *prompt_input;
    RKLLMEmbedInput embed_input;
    RKLLMTokenInput token_input;
    RKLLMMultiModalInput multimodal_input;
  };
} RKLLMInput;

typedef struct {
  const char *lora_adapter_name;
} RKLLMLoraParam;

typedef struct {
  int save_prompt_cache;
  const char *prompt_cache_path;
} RKLLMPromptCacheParam;

#if RKLLM_ABI >= 'D'
typedef struct {
  float *encoder_k_cache;
  float *encoder_v_cache;
  float *encoder_mask;
  int32_t *encoder_pos;
  int num_tokens;
} RKLLMCrossAttnParam;
#endif

#if RKLLM_ABI >= 'E'
typedef struct {
  int32_t top_k;
  float top_p;
  float temperature;
  float repeat_penalty;
  float frequency_penalty;
  float presence_penalty;
  int32_t mirostat;
  float mirostat_tau;
  float mirostat_eta;
} RKLLMSamplingParam;
#endif

typedef struct {
  RKLLMInferMode mode;
  RKLLMLoraParam *lora_params;
  RKLLMPromptCacheParam *prompt_cache_params;
#if RKLLM_ABI >= 'E'
  RKLLMSamplingParam *sampling_params;
#endif
#if RKLLM_ABI >= 'B'
  int keep_history;
#endif
#if RKLLM_ABI >= 'E'
  int max_new_tokens;
#endif
} RKLLMInferParam;

typedef struct {
  const float *hidden_states;
  int embd_size;
  int num_tokens;
} RKLLMResultLastHiddenLayer;

#if RKLLM_ABI >= 'B'
typedef struct {
  const float *logits;
  int vocab_size;
  int num_tokens;
} RKLLMResultLogits;
#endif

#if RKLLM_ABI >= 'D'
typedef struct {
  float prefill_time_ms;
  int prefill_tokens;
  float generate_time_ms;
  int generate_tokens;
  float memory_usage_mb;
} RKLLMPerfStat;
#endif

typedef struct {
  const char *text;
  int32_t token_id;
  RKLLMResultLastHiddenLayer last_hidden_layer;
#if RKLLM_ABI >= 'B'
  RKLLMResultLogits logits;
#endif
#if RKLLM_ABI >= 'D'
  RKLLMPerfStat perf;
#endif
} RKLLMResult;

#if RKLLM_ABI >= 'D'
/* Returns 0 to go on, 1 to pause and, from class E on, 2 to release the output buffer. */
typedef int (*LLMResultCallback)(RKLLMResult *result, void *userdata, LLMCallState state);
#else
typedef void (*LLMResultCallback)(RKLLMResult *result, void *userdata, LLMCallState state);
#endif

#if RKLLM_ABI >= 'E'
typedef struct {
  LLMResultCallback result_callback;
  void *result_userdata;
  void (*tokenizer_callback)(void);
  void *tokenizer_userdata;
  void (*embed_callback)(void);
  void *embed_userdata;
} RKLLMCallback;
#endif

RKLLM_EXPORT RKLLMParam rkllm_createDefaultParam(void);
#if RKLLM_ABI >= 'E'
RKLLM_EXPORT int rkllm_init(LLMHandle *handle, RKLLMParam *param, RKLLMCallback *callback);
#else
RKLLM_EXPORT int rkllm_init(LLMHandle *handle, RKLLMParam *param, LLMResultCallback callback);
#endif
RKLLM_EXPORT int rkllm_load_lora(LLMHandle handle, RKLLMLoraAdapter *lora_adapter);
RKLLM_EXPORT int rkllm_load_prompt_cache(LLMHandle handle, const char *prompt_cache_path);
RKLLM_EXPORT int rkllm_release_prompt_cache(LLMHandle handle);
RKLLM_EXPORT int rkllm_destroy(LLMHandle handle);
RKLLM_EXPORT int rkllm_run(
    LLMHandle handle, RKLLMInput *input, RKLLMInferParam *infer_params, void *userdata);
RKLLM_EXPORT int rkllm_run_async(
    LLMHandle handle, RKLLMInput *input, RKLLMInferParam *infer_params, void *userdata);
RKLLM_EXPORT int rkllm_abort(LLMHandle handle);
RKLLM_EXPORT int rkllm_is_running(LLMHandle handle);

#if RKLLM_ABI >= 'B'
RKLLM_EXPORT int rkllm_set_chat_template(
    LLMHandle handle, const char *system_prompt, const char *prompt_prefix,
    const char *prompt_postfix);
#endif
#if RKLLM_ABI == 'B' || RKLLM_ABI == 'C'
RKLLM_EXPORT int rkllm_clear_kv_cache(LLMHandle handle, int keep_system_prompt);
#endif

#if RKLLM_ABI >= 'D'
RKLLM_EXPORT int rkllm_clear_kv_cache(
    LLMHandle handle, int keep_system_prompt, int *start_pos, int *end_pos);
RKLLM_EXPORT int rkllm_get_kv_cache_size(LLMHandle handle, int *cache_sizes);
RKLLM_EXPORT int rkllm_set_function_tools(
    LLMHandle handle, const char *system_prompt, const char *tools,
    const char *tool_response_str);
RKLLM_EXPORT int rkllm_set_cross_attn_params(LLMHandle handle, RKLLMCrossAttnParam *params);
#endif

#endif
