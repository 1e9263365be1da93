// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* Every size and offset that is known of this ABI class; compiling is the check. */
#include "rkllm.h"

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "size of " #type)
#define AT(type, field, bytes) \
  _Static_assert(offsetof(type, field) == (bytes), "offset of " #type "." #field)

#if RKLLM_ABI < 'A' || RKLLM_ABI > 'F'
#error "RKLLM_ABI must be 'A' to 'F'"
#endif

/* --- the same in every class --- */

SIZE(LLMCallState, 4);
SIZE(RKLLMInputType, 4);
SIZE(RKLLMInferMode, 4);

SIZE(RKLLMLoraAdapter, 24);
AT(RKLLMLoraAdapter, lora_adapter_path, 0);
AT(RKLLMLoraAdapter, lora_adapter_name, 8);
AT(RKLLMLoraAdapter, scale, 16);

SIZE(RKLLMEmbedInput, 16);
AT(RKLLMEmbedInput, embed, 0);
AT(RKLLMEmbedInput, n_tokens, 8);

SIZE(RKLLMTokenInput, 16);
AT(RKLLMTokenInput, input_ids, 0);
AT(RKLLMTokenInput, n_tokens, 8);

SIZE(RKLLMLoraParam, 8);
AT(RKLLMLoraParam, lora_adapter_name, 0);

SIZE(RKLLMPromptCacheParam, 16);
AT(RKLLMPromptCacheParam, save_prompt_cache, 0);
AT(RKLLMPromptCacheParam, prompt_cache_path, 8);

SIZE(RKLLMResultLastHiddenLayer, 16);
AT(RKLLMResultLastHiddenLayer, hidden_states, 0);
AT(RKLLMResultLastHiddenLayer, embd_size, 8);
AT(RKLLMResultLastHiddenLayer, num_tokens, 12);

AT(RKLLMExtendParam, base_domain_id, 0);

AT(RKLLMParam, model_path, 0);
AT(RKLLMParam, max_context_len, 8);
AT(RKLLMParam, max_new_tokens, 12);
AT(RKLLMParam, top_k, 16);

AT(RKLLMMultiModalInput, prompt, 0);

AT(RKLLMInferParam, mode, 0);
AT(RKLLMInferParam, lora_params, 8);
AT(RKLLMInferParam, prompt_cache_params, 16);

AT(RKLLMResult, text, 0);
AT(RKLLMResult, token_id, 8);
AT(RKLLMResult, last_hidden_layer, 16);

/* --- RKLLMExtendParam --- */

#if RKLLM_ABI == 'A'
SIZE(RKLLMExtendParam, 116);
AT(RKLLMExtendParam, reserved, 4);
#else
SIZE(RKLLMExtendParam, 120);
AT(RKLLMExtendParam, embed_flash, 4);
AT(RKLLMExtendParam, enabled_cpus_num, 5);
AT(RKLLMExtendParam, enabled_cpus_mask, 8);
#if RKLLM_ABI >= 'D'
AT(RKLLMExtendParam, n_batch, 12);
AT(RKLLMExtendParam, use_cross_attn, 13);
AT(RKLLMExtendParam, reserved, 14);
#else
AT(RKLLMExtendParam, reserved, 12);
#endif
#endif

/* --- RKLLMParam --- */

#if RKLLM_ABI == 'A'
SIZE(RKLLMParam, 200);
AT(RKLLMParam, top_p, 20);
AT(RKLLMParam, temperature, 24);
AT(RKLLMParam, repeat_penalty, 28);
AT(RKLLMParam, frequency_penalty, 32);
AT(RKLLMParam, presence_penalty, 36);
AT(RKLLMParam, mirostat, 40);
AT(RKLLMParam, mirostat_tau, 44);
AT(RKLLMParam, mirostat_eta, 48);
AT(RKLLMParam, skip_special_token, 52);
AT(RKLLMParam, is_async, 53);
AT(RKLLMParam, img_start, 56);
AT(RKLLMParam, img_end, 64);
AT(RKLLMParam, img_content, 72);
AT(RKLLMParam, extend_param, 80);
#else
AT(RKLLMParam, n_keep, 20);
AT(RKLLMParam, top_p, 24);
AT(RKLLMParam, temperature, 28);
AT(RKLLMParam, repeat_penalty, 32);
AT(RKLLMParam, frequency_penalty, 36);
AT(RKLLMParam, presence_penalty, 40);
AT(RKLLMParam, mirostat, 44);
AT(RKLLMParam, mirostat_tau, 48);
AT(RKLLMParam, mirostat_eta, 52);
AT(RKLLMParam, skip_special_token, 56);
#if RKLLM_ABI >= 'E'
SIZE(RKLLMParam, 184);
AT(RKLLMParam, ignore_eos_token, 57);
AT(RKLLMParam, is_async, 58);
AT(RKLLMParam, extend_param, 60);
#else
SIZE(RKLLMParam, 208);
AT(RKLLMParam, is_async, 57);
AT(RKLLMParam, img_start, 64);
AT(RKLLMParam, img_end, 72);
AT(RKLLMParam, img_content, 80);
AT(RKLLMParam, extend_param, 88);
#endif
#endif

/* --- RKLLMMultiModalInput --- */

#if RKLLM_ABI >= 'E'
AT(RKLLMMultiModalInput, image, 8);
AT(RKLLMMultiModalInput, image.image_embed, 8);
AT(RKLLMMultiModalInput, image.n_image_tokens, 16);
AT(RKLLMMultiModalInput, image.n_image, 24);
AT(RKLLMMultiModalInput, image.image_start, 32);
AT(RKLLMMultiModalInput, image.image_end, 40);
AT(RKLLMMultiModalInput, image.image_content, 48);
AT(RKLLMMultiModalInput, image.image_width, 56);
AT(RKLLMMultiModalInput, image.image_height, 64);
AT(RKLLMMultiModalInput, video, 72);
AT(RKLLMMultiModalInput, video.video_embed, 72);
AT(RKLLMMultiModalInput, video.n_frame_tokens, 80);
AT(RKLLMMultiModalInput, video.n_frame_per_video, 88);
AT(RKLLMMultiModalInput, video.n_video, 96);
AT(RKLLMMultiModalInput, video.video_start, 104);
AT(RKLLMMultiModalInput, video.video_end, 112);
AT(RKLLMMultiModalInput, video.video_content, 120);
AT(RKLLMMultiModalInput, video.frame_width, 128);
AT(RKLLMMultiModalInput, video.frame_height, 136);
#if RKLLM_ABI >= 'F'
SIZE(RKLLMMultiModalInput, 192);
AT(RKLLMMultiModalInput, audio, 144);
AT(RKLLMMultiModalInput, audio.audio_embed, 144);
AT(RKLLMMultiModalInput, audio.n_audio_tokens, 152);
AT(RKLLMMultiModalInput, audio.n_audio, 160);
AT(RKLLMMultiModalInput, audio.audio_start, 168);
AT(RKLLMMultiModalInput, audio.audio_end, 176);
AT(RKLLMMultiModalInput, audio.audio_content, 184);
#else
SIZE(RKLLMMultiModalInput, 144);
#endif
#else
AT(RKLLMMultiModalInput, image_embed, 8);
AT(RKLLMMultiModalInput, n_image_tokens, 16);
#if RKLLM_ABI >= 'C'
SIZE(RKLLMMultiModalInput, 48);
AT(RKLLMMultiModalInput, n_image, 24);
AT(RKLLMMultiModalInput, image_width, 32);
AT(RKLLMMultiModalInput, image_height, 40);
#else
SIZE(RKLLMMultiModalInput, 24);
#endif
#endif

/* --- RKLLMInput --- */

#if RKLLM_ABI >= 'D'
AT(RKLLMInput, role, 0);
AT(RKLLMInput, enable_thinking, 8);
AT(RKLLMInput, input_type, 12);
AT(RKLLMInput, prompt_input, 16);
AT(RKLLMInput, embed_input, 16);
AT(RKLLMInput, token_input, 16);
AT(RKLLMInput, multimodal_input, 16);
#else
AT(RKLLMInput, input_type, 0);
AT(RKLLMInput, prompt_input, 8);
AT(RKLLMInput, embed_input, 8);
AT(RKLLMInput, token_input, 8);
AT(RKLLMInput, multimodal_input, 8);
#endif
#if RKLLM_ABI >= 'F'
SIZE(RKLLMInput, 208);
#elif RKLLM_ABI >= 'E'
SIZE(RKLLMInput, 160);
#elif RKLLM_ABI >= 'D'
SIZE(RKLLMInput, 64);
#elif RKLLM_ABI >= 'C'
SIZE(RKLLMInput, 56);
#else
SIZE(RKLLMInput, 32);
#endif

/* --- RKLLMInferParam --- */

#if RKLLM_ABI >= 'E'
SIZE(RKLLMInferParam, 40);
AT(RKLLMInferParam, sampling_params, 24);
AT(RKLLMInferParam, keep_history, 32);
AT(RKLLMInferParam, max_new_tokens, 36);
#elif RKLLM_ABI >= 'B'
SIZE(RKLLMInferParam, 32);
AT(RKLLMInferParam, keep_history, 24);
#else
SIZE(RKLLMInferParam, 24);
#endif

/* --- RKLLMResult --- */

#if RKLLM_ABI >= 'B'
SIZE(RKLLMResultLogits, 16);
AT(RKLLMResultLogits, logits, 0);
AT(RKLLMResultLogits, vocab_size, 8);
AT(RKLLMResultLogits, num_tokens, 12);
AT(RKLLMResult, logits, 32);
#endif
#if RKLLM_ABI >= 'D'
SIZE(RKLLMPerfStat, 20);
AT(RKLLMPerfStat, prefill_time_ms, 0);
AT(RKLLMPerfStat, prefill_tokens, 4);
AT(RKLLMPerfStat, generate_time_ms, 8);
AT(RKLLMPerfStat, generate_tokens, 12);
AT(RKLLMPerfStat, memory_usage_mb, 16);
AT(RKLLMResult, perf, 48);
SIZE(RKLLMResult, 72);
#elif RKLLM_ABI >= 'B'
SIZE(RKLLMResult, 48);
#else
SIZE(RKLLMResult, 32);
#endif

/* --- what came with class D and with class E --- */

#if RKLLM_ABI >= 'D'
SIZE(RKLLMCrossAttnParam, 40);
AT(RKLLMCrossAttnParam, encoder_k_cache, 0);
AT(RKLLMCrossAttnParam, encoder_v_cache, 8);
AT(RKLLMCrossAttnParam, encoder_mask, 16);
AT(RKLLMCrossAttnParam, encoder_pos, 24);
AT(RKLLMCrossAttnParam, num_tokens, 32);
#endif

#if RKLLM_ABI >= 'E'
SIZE(RKLLMSamplingParam, 36);
AT(RKLLMSamplingParam, top_k, 0);
AT(RKLLMSamplingParam, top_p, 4);
AT(RKLLMSamplingParam, temperature, 8);
AT(RKLLMSamplingParam, repeat_penalty, 12);
AT(RKLLMSamplingParam, frequency_penalty, 16);
AT(RKLLMSamplingParam, presence_penalty, 20);
AT(RKLLMSamplingParam, mirostat, 24);
AT(RKLLMSamplingParam, mirostat_tau, 28);
AT(RKLLMSamplingParam, mirostat_eta, 32);

SIZE(RKLLMCallback, 48);
AT(RKLLMCallback, result_callback, 0);
AT(RKLLMCallback, result_userdata, 8);
AT(RKLLMCallback, tokenizer_callback, 16);
AT(RKLLMCallback, tokenizer_userdata, 24);
AT(RKLLMCallback, embed_callback, 32);
AT(RKLLMCallback, embed_userdata, 40);
#endif
