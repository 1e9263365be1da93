/* The log, and what the environment asks the simulated runtime to do wrong (see README.md). */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>

__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/* The value of SIMRKLLM_<name>, NULL where it is unset or empty. */
const char *fault_text(const char *name);
bool fault(const char *name);
double fault_number(const char *name, double otherwise);

#endif
