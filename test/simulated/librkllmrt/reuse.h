// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* What of the cache a prompt begins with, so that it need not be read again. */
#ifndef REUSE_H
#define REUSE_H

#include "runtime.h"

/* Let the cache begin with as much of the prompt as it holds; the rest is to be read. */
void reuse(Run *run);

/* Read the token at this place of the prompt. */
void read_token(const Run *run, size_t at);

/* Read a token of the answer. */
void read_written(Runtime *runtime, int32_t token);

#endif
