// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

#include "prompt.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer.h"

size_t count_marks(const char *text, const char *mark)
{
  size_t count = 0;
  while ((text = strstr(text, mark))) {
    text += strlen(mark);
    count++;
  }
  return count;
}

static void append(Prompt *prompt, const Model *model, const char *text)
{
  size_t count = tokenize(
      model, text, model->header.lowercase, prompt->tokens + prompt->length);
  for (size_t i = 0; i < count; i++)
    prompt->rows[prompt->length++] = -1;
}

static void append_image(
    Prompt *prompt, const Model *model, const Images *images, size_t image, int32_t content)
{
  append(prompt, model, images->start);
  for (size_t i = 0; i < images->tokens; i++) {
    prompt->tokens[prompt->length] = content;
    prompt->rows[prompt->length++] = image * images->tokens + i;
  }
  append(prompt, model, images->end);
}

/* No token is shorter than a byte. */
static size_t most_tokens(Template template, const char *text, const Images *images)
{
  size_t bytes = strlen(template.system) + strlen(template.prefix) + strlen(text) +
                 strlen(template.postfix);
  if (images)
    bytes += images->count * (strlen(images->start) + images->tokens + strlen(images->end));
  return bytes + 1;
}

static char *join(Template template, const char *text)
{
  size_t size = most_tokens(template, text, NULL);
  char *joined = malloc(size);
  joined[0] = '\0';
  strcat(strcat(strcat(strcat(joined, template.system), template.prefix), text),
         template.postfix);
  return joined;
}

const char *make_prompt(
    Prompt *prompt, const Model *model, Template template, const char *text,
    const Images *images)
{
  size_t room = most_tokens(template, text, images);
  *prompt = (Prompt){malloc(room * sizeof(int32_t)), malloc(room * sizeof(int32_t)), 0};
  int32_t content = -1;
  if (images) {
    int32_t tokens[strlen(images->content) + 1];
    if (tokenize(model, images->content, false, tokens) != 1)
      return "the content tag of images is not one token";
    content = tokens[0];
  }
  char *all = join(template, text), *rest = all;
  /* Marks in the template are not the request's. */
  char *mark = all + strlen(template.system) + strlen(template.prefix);
  for (size_t i = 0; images && i < images->count; i++) {
    mark = strstr(mark, images->mark);
    *mark = '\0';
    append(prompt, model, rest);
    append_image(prompt, model, images, i, content);
    rest = mark += strlen(images->mark);
  }
  append(prompt, model, rest);
  free(all);
  return NULL;
}

void take_tokens(Prompt *prompt, const int32_t *tokens, size_t count)
{
  *prompt = (Prompt){malloc(count * sizeof(int32_t)), malloc(count * sizeof(int32_t)), count};
  memcpy(prompt->tokens, tokens, count * sizeof(int32_t));
  for (size_t i = 0; i < count; i++)
    prompt->rows[i] = -1;
}

void free_prompt(Prompt *prompt)
{
  free(prompt->tokens);
  free(prompt->rows);
}
