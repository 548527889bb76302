// What a job or its neighbours do to a guest. Each mode ends by itself, so that a guest that is too busy to run a shell
// gets well again.
//
//     load SECONDS hog MB_PER_SECOND          touches memory until it is killed
//     load SECONDS files PATH                 reads a file that is larger than the memory, again and again
//     load SECONDS stream PATH                reads a file from its beginning to its end, again and again, as a copy does
//     load SECONDS livelock PATH PROCESSES SPARE_KB
//                                             uses up all memory but SPARE_KB, and reads the file through that
//     load SECONDS busy PROCESSES NICE        busy loops
//     load SECONDS agent THREADS              works a millisecond at a time, named as a CI runner's own process
//     load SECONDS forks                      as many processes as there may be
//     load SECONDS fill FOLDER                fills the file system
//     load SECONDS inodes FOLDER              uses up its inodes
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

enum { PAGE = 4096, STEP_MS = 10 };

static unsigned seconds;

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static char *memory_of(size_t bytes)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        err(1, "mmap");
    return memory;
}

static void touch(char *memory, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += PAGE)
        memory[at]++;
}

// Steps are by the clock: a machine that is slow for a moment gets the missed ones together.
static void hog(size_t mb_per_second)
{
    size_t step = mb_per_second * 1024 * 1024 / (1000 / STEP_MS) / PAGE * PAGE, most = 8UL << 30;
    char *memory = memory_of(most);
    struct timespec begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (size_t used = 0; used + step <= most;) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        long ms = (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
        if (used / step * STEP_MS <= (size_t)ms) {
            touch(memory + used, step);
            used += step;
        } else {
            pause_ms(1);
        }
    }
}

static char *file_at(const char *path, size_t *bytes)
{
    int file = open(path, O_RDONLY);
    struct stat stat;
    if (file < 0 || fstat(file, &stat))
        err(1, "%s", path);
    *bytes = stat.st_size;
    if (S_ISBLK(stat.st_mode) && ioctl(file, BLKGETSIZE64, bytes))
        err(1, "%s", path);
    char *content = mmap(NULL, *bytes, PROT_READ, MAP_SHARED, file, 0);
    if (content == MAP_FAILED)
        err(1, "mmap %s", path);
    return content;
}

static void files(const char *path)
{
    size_t bytes;
    volatile char *content = file_at(path, &bytes);
    for (;;)
        for (size_t at = 0; at < bytes; at += PAGE)
            (void)content[at];
}

static void stream(const char *path)
{
    static char block[65536];
    int file = open(path, O_RDONLY);
    if (file < 0)
        err(1, "%s", path);
    for (;;)
        if (read(file, block, sizeof block) <= 0)
            lseek(file, 0, SEEK_SET);
}

// What could be had without a kill: free pages, and those of files.
static size_t evictable_kb(void)
{
    char line[128];
    size_t sum = 0, kb;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "MemFree: %zu", &kb) == 1 || sscanf(line, "Active(file): %zu", &kb) == 1 ||
            sscanf(line, "Inactive(file): %zu", &kb) == 1)
            sum += kb;
    if (file)
        fclose(file);
    return sum;
}

// One of many readers of the same 32 MB at random, where reading ahead does not help.
static void read_at_random(const char *path)
{
    size_t bytes, most = 32 << 20;
    volatile char *content = file_at(path, &bytes);
    madvise((void *)content, bytes, MADV_RANDOM);
    unsigned random = getpid();
    for (;;) {
        random = random * 1103515245 + 12345;
        (void)content[(size_t)(random >> 8) * PAGE % most];
    }
}

// Bit by bit, since all at once would be an OOM; then the readers have to live in what is left, which is kept so.
static void livelock(const char *path, int processes, size_t spare_kb)
{
    size_t step = 16 * PAGE, used = 0;
    char *memory = memory_of(8UL << 30);
    for (int readers = 0;;) {
        if (evictable_kb() > spare_kb) {
            touch(memory + used, step);
            used += step;
        } else if (readers++ < processes) {
            if (fork() == 0) {
                alarm(seconds);
                read_at_random(path);
            }
        } else {
            pause_ms(50);
        }
    }
}

static void busy(int processes, int nice_value)
{
    setpriority(PRIO_PROCESS, 0, nice_value);
    for (int i = 1; i < processes; i++) {
        if (fork() == 0) {
            alarm(seconds);
            break;
        }
    }
    for (volatile unsigned long n = 0;; n++)
        ;
}

// By the clock of the CPU: it wants the same share of one however fast the machine is.
static void work_ms(long ms)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 < ms);
}

static void *tick(void *forever)
{
    while (forever) {
        work_ms(1);
        pause_ms(10);
    }
    return NULL;
}

static void agent(int threads)
{
    prctl(PR_SET_NAME, "Runner.Listener");
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, tick, ""))
            errx(1, "no thread");
    }
    tick("");
}

static void forks(void)
{
    for (;;) {
        pid_t child = fork();
        if (child == 0) {
            alarm(seconds);
            pause();
            _exit(0);
        }
        if (child < 0)
            pause_ms(50);
    }
}

static void fill(const char *folder)
{
    static char block[16384];
    char path[256];
    snprintf(path, sizeof path, "%s/full", folder);
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    for (;;)
        if (write(file, block, sizeof block) <= 0)
            pause_ms(50);
}

static void inodes(const char *folder)
{
    char path[256];
    for (int i = 0;; i++) {
        snprintf(path, sizeof path, "%s/%d", folder, i);
        int file = open(path, O_WRONLY | O_CREAT, 0600);
        if (file < 0)
            pause_ms(50);
        else
            close(file);
    }
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 64;
    const char *mode = argv[2], *first = argc > 3 ? argv[3] : "";
    seconds = atoi(argv[1]);
    prctl(PR_SET_NAME, mode);
    alarm(seconds);
    if (!strcmp(mode, "hog"))
        hog(atoi(first));
    else if (!strcmp(mode, "files"))
        files(first);
    else if (!strcmp(mode, "stream"))
        stream(first);
    else if (!strcmp(mode, "livelock") && argc > 5)
        livelock(first, atoi(argv[4]), atoi(argv[5]));
    else if (!strcmp(mode, "busy") && argc > 4)
        busy(atoi(first), atoi(argv[4]));
    else if (!strcmp(mode, "agent"))
        agent(atoi(first));
    else if (!strcmp(mode, "forks"))
        forks();
    else if (!strcmp(mode, "fill"))
        fill(first);
    else if (!strcmp(mode, "inodes"))
        inodes(first);
    return 64;
}
