/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "ldnq.h"

#define FIRST_SIGNAL_CODE 128

static const int signals[] = { SIGINT, SIGTERM };

static volatile sig_atomic_t caught;

/* Files are unnamed until they are whole, so that nothing is left to remove. */
static void catch_signal(int number)
{
    if (caught)
        _exit(FIRST_SIGNAL_CODE + number);
    caught = number;
}

/* The weights of a model are read from its mapped files. */
static void end_after_bus_error(int number)
{
    static const char message[] =
        "ldnq: a file of the model became shorter, or its disk failed, while it was read\n";
    (void)number;
    if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
        _exit(LDNQ_IO);
    _exit(LDNQ_IO);
}

void cli_interrupt_catch_bus_error(void)
{
    struct sigaction action = { .sa_handler = end_after_bus_error };
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

void cli_interrupt_catch(void)
{
    struct sigaction action = { .sa_handler = catch_signal, .sa_flags = SA_RESTART }, old;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
}

int cli_interrupt_signal(void)
{
    return caught;
}

const char *cli_interrupt_name(void)
{
    return caught == SIGINT ? "SIGINT" : "SIGTERM";
}

int cli_interrupt_exit_code(void)
{
    return FIRST_SIGNAL_CODE + caught;
}
