// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* From a request to the tokens that the model reads. */
#ifndef PROMPT_H
#define PROMPT_H

#include "model.h"

typedef struct {
  const char *system, *prefix, *postfix;
} Template;

typedef struct {
  const float *embed; /* (count, tokens, outputs, dim) */
  const char *mark;   /* where one of them stands in the text */
  size_t count, tokens;
  const char *start, *end, *content;
} Images;

typedef struct {
  int32_t *tokens;
  int32_t *rows; /* which image token stands here, -1: none */
  size_t length;
} Prompt;

size_t count_marks(const char *text, const char *mark);
/*
 * Write the template around the text, with `images` (NULL: none) in place of their marks;
 * return what is wrong, NULL if nothing is. Free the prompt in any case.
 */
const char *make_prompt(
    Prompt *prompt, const Model *model, Template template, const char *text,
    const Images *images);
/* Take tokens as they are, without a template. */
void take_tokens(Prompt *prompt, const int32_t *tokens, size_t count);
void free_prompt(Prompt *prompt);

#endif
