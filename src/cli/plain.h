/* plain.h: names out of model files, made safe to print on a terminal. */
#ifndef LDNQ_CLI_PLAIN_H
#define LDNQ_CLI_PLAIN_H

#include <stddef.h>

#define CLI_PLAIN_SIZE 512

/* A copy without control characters, cut at the buffer's size; returns buffer. */
const char *cli_plain(const char *text, char buffer[CLI_PLAIN_SIZE]);

#endif
