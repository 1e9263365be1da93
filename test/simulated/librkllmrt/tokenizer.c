// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

#include "tokenizer.h"

#include <string.h>

static char lower(char letter)
{
  return letter >= 'A' && letter <= 'Z' ? letter - 'A' + 'a' : letter;
}

static bool starts_with(const char *text, Text word, bool lowercase)
{
  for (uint32_t i = 0; i < word.length; i++) {
    char letter = lowercase ? lower(text[i]) : text[i];
    if (!letter || letter != word.bytes[i])
      return false;
  }
  return word.length > 0;
}

/* A special token before all others, and its text in any other case is no special token. */
static int32_t longest_token(const Model *model, const char *text, bool lowercase)
{
  const Header *h = &model->header;
  for (uint32_t i = 0; i < h->special_count; i++)
    if (starts_with(text, model->tokens[h->first_special + i], false))
      return h->first_special + i;
  int32_t best = -1;
  for (uint32_t i = 0; i < h->vocabulary; i++)
    if (!is_special(model, i) && starts_with(text, model->tokens[i], lowercase) &&
        (best < 0 || model->tokens[i].length > model->tokens[best].length))
      best = i;
  return best;
}

size_t tokenize(const Model *model, const char *text, bool lowercase, int32_t *tokens)
{
  size_t count = 0;
  bool is_answer = false; /* of an earlier turn: it stays as it was written */
  while (*text) {
    int32_t token = longest_token(model, text, lowercase && !is_answer);
    if (token < 0) {
      text++; /* a vocabulary without this byte */
      continue;
    }
    tokens[count++] = token;
    if (is_special(model, token))
      is_answer = strcmp(model->tokens[token].bytes, "<assistant>") == 0;
    text += model->tokens[token].length;
  }
  return count;
}

bool is_special(const Model *model, int32_t token)
{
  return (uint32_t)token - model->header.first_special < model->header.special_count;
}

bool ends_inside_character(const char *text, size_t length)
{
  size_t following = 0;
  while (following < length && following < 4) {
    unsigned char byte = text[length - 1 - following];
    if ((byte & 0xC0) != 0x80) {
      size_t wanted = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : byte >= 0xC0 ? 1 : 0;
      return following < wanted;
    }
    following++;
  }
  return false;
}
