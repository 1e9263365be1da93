// Copyright 2026 vlm_npu_ros maintainers
// SPDX-License-Identifier: Apache-2.0

#include "faults.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LONGEST_FILE 4096
#define ONCE "@once"

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

/* Return a copy of a value from a file, the same one for the same value. */
static const char *kept(const char *value)
{
  typedef struct Kept {
    struct Kept *next;
    char text[];
  } Kept;
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static Kept *newest;
  pthread_mutex_lock(&lock);
  Kept *found = newest;
  while (found && strcmp(found->text, value) != 0)
    found = found->next;
  if (!found) {
    found = malloc(sizeof *found + strlen(value) + 1);
    found->next = newest;
    strcpy(found->text, value);
    newest = found;
  }
  pthread_mutex_unlock(&lock);
  return found->text;
}

/* Whether a line, NAME=value or NAME@once=value, is about this variable. */
static bool is_about(const char *line, const char *variable, const char **value, bool *is_once)
{
  size_t length = strlen(variable);
  if (strncmp(line, variable, length) != 0)
    return false;
  line += length;
  *is_once = strncmp(line, ONCE, strlen(ONCE)) == 0;
  if (*is_once)
    line += strlen(ONCE);
  *value = line + 1;
  return *line == '=';
}

/*
 * Return what the file says, NULL if nothing. A line for one time becomes a comment; the file is
 * locked, so that one thread of one process sees it, and is written before the fault strikes.
 */
static const char *look_up_in_file(const char *variable, const int *number)
{
  const char *path = getenv("SIMNPU_FAULTS"), *result = NULL;
  int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0)
    return NULL;
  flock(file, LOCK_EX);
  char text[LONGEST_FILE + 1];
  ssize_t size = pread(file, text, LONGEST_FILE, 0);
  text[size < 0 ? 0 : size] = '\0';
  for (char *line = text, *next; *line && !result; line = next) {
    const char *value;
    bool is_once;
    next = line + strcspn(line, "\n");
    if (*next)
      *next++ = '\0';
    if (!is_about(line, variable, &value, &is_once))
      continue;
    result = kept(value);
    if (is_once && (!number || atoi(value) == *number) && pwrite(file, "#", 1, line - text) != 1)
      abort();
  }
  close(file);
  return result;
}

/* number: NULL, or the only value at which a line for one time is used up. */
static const char *look_up(const char *name, const int *number)
{
  char variable[64];
  snprintf(variable, sizeof variable, "SIMRKLLM_%s", name);
  const char *value = look_up_in_file(variable, number);
  if (!value)
    value = getenv(variable);
  return value && *value ? value : NULL;
}

const char *fault_text(const char *name)
{
  return look_up(name, NULL);
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

bool fault_at(const char *name, int number)
{
  const char *value = look_up(name, &number);
  return value && atoi(value) == number;
}

void hang(void)
{
  for (;;)
    pause();
}

void crash_or_hang(const char *where)
{
  char name[32];
  snprintf(name, sizeof name, "%s_SEGV", where);
  if (fault(name))
    raise(SIGSEGV);
  snprintf(name, sizeof name, "%s_HANG", where);
  if (fault(name))
    hang();
}
