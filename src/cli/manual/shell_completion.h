/* SPDX-License-Identifier: Apache-2.0 */
/* shell_completion.h: completion of command lines in shells: commands, the options of each, and
 * the values of options that have a fixed set of them; files elsewhere. */
#ifndef LDNQ_CLI_MANUAL_SHELL_COMPLETION_H
#define LDNQ_CLI_MANUAL_SHELL_COMPLETION_H

/* A script for bash, to stdout; it needs nothing of the package bash-completion. */
void shell_completion_write_bash(void);

/* Writes a function for zsh's completion system to stdout. */
void shell_completion_write_zsh(void);

#endif
