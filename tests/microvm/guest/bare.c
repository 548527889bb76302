// The floor: what a probe can at best do in a guest. Files held open, memory locked, real-time priority, out of the OOM
// killer's way, a poll and a few preads, one short line. No parsing, no allocation.
//
//     bare FILE...        every 250 ms: "BARE n"
//
// Four lines a second are four loops of a second each, a quarter apart: the harness takes every fourth line. So whatever
// moment a stall falls on, one of the four shows its whole length, as the probe's own phase may.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { FILES = 24 };
static char content[16384];

static void protect(void)
{
    struct sched_param priority = {.sched_priority = 10};
    int adj = open("/proc/self/oom_score_adj", O_WRONLY);
    if (adj < 0 || write(adj, "-1000", 5) < 0 || mlockall(MCL_CURRENT | MCL_FUTURE) ||
        sched_setscheduler(0, SCHED_FIFO, &priority))
        perror("bare");
    close(adj);
}

int main(int argc, char **argv)
{
    int files[FILES], count = 0;
    for (int i = 1; i < argc && count < FILES; i++)
        if ((files[count] = open(argv[i], O_RDONLY)) >= 0)
            count++;
    protect();
    struct itimerspec quarter = {{0, 250000000}, {0, 250000000}};
    int timer = timerfd_create(CLOCK_MONOTONIC, 0);
    timerfd_settime(timer, 0, &quarter, NULL);
    unsigned long long n = 0, expired;
    for (;;) {
        struct pollfd due = {timer, POLLIN, 0};
        poll(&due, 1, -1);
        if (read(timer, &expired, sizeof expired) != sizeof expired)
            continue;
        // The count of what was due, so that a quarter that was missed keeps the others in their phase.
        n += expired;
        for (int i = 0; i < count; i++)
            if (pread(files[i], content, sizeof content, 0) < 0)
                continue;
        char line[32];
        int length = snprintf(line, sizeof line, "BARE %llu\n", n);
        if (write(STDOUT_FILENO, line, length) != length)
            return 1;
    }
}
