// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

/* The log, and what the simulated runtime is asked to do wrong (see README.md). */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/*
 * The value of SIMRKLLM_<name>, NULL where it is unset or empty; it stays where it is for good.
 * To look a fault up is to use it.
 */
const char *fault_text(const char *name);
bool fault(const char *name);
double fault_number(const char *name, double otherwise);

/* Whether its value is this number; only then it is used. */
bool fault_at(const char *name, int number);

/* Do what <where>_SEGV or <where>_HANG asks for, else return. */
void crash_or_hang(const char *where);
void hang(void);

#endif
