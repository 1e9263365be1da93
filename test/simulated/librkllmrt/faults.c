#include "faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void log_line(const char *format, ...)
{
  char line[1024];
  va_list values;
  va_start(values, format);
  vsnprintf(line, sizeof line, format, values);
  va_end(values);
  /* Unbuffered: nothing is lost where a crash follows. */
  dprintf(fault("LOG_STDOUT") ? STDOUT_FILENO : STDERR_FILENO, "%s\n", line);
}

const char *fault_text(const char *name)
{
  char variable[64];
  snprintf(variable, sizeof variable, "SIMRKLLM_%s", name);
  const char *value = getenv(variable);
  return value && *value ? value : NULL;
}

bool fault(const char *name)
{
  return fault_number(name, 0) != 0;
}

double fault_number(const char *name, double otherwise)
{
  const char *value = fault_text(name);
  return value ? atof(value) : otherwise;
}
