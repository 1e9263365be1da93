// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* Text to tokens, and where a character of the text is complete. */
#ifndef TOKENIZER_H
#define TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model.h"

/*
 * Write the tokens of the text and return their number: the text of special tokens is read as
 * these tokens, everything else as the longest pieces that fit. `tokens` needs room for as many
 * as the text has bytes. With `lowercase`, questions are lower-cased (ASCII): all but special
 * tokens and what follows <assistant>.
 */
size_t tokenize(const Model *model, const char *text, bool lowercase, int32_t *tokens);
bool is_special(const Model *model, int32_t token);
/* Whether the text ends in the middle of a UTF-8 character. */
bool ends_inside_character(const char *text, size_t length);

#endif
