// Starts a program as a guest's platform would: in a cgroup, as a user, in a container. It becomes that program.
//
//     launch [-g CGROUP_FOLDER]... [-a OOM_SCORE_ADJ] [-u UID | -c] -- PROGRAM [ARGS...]
//
// -c: in PID, mount and cgroup namespaces of its own, with a container's default capabilities and a /dev without kmsg;
// there the program is a child of PID 1, as it is below a launcher script.
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static const unsigned long long CONTAINER_CAPABILITIES = 0xa80425fb;

static void write_file(const char *path, const char *text)
{
    int file = open(path, O_WRONLY);
    if (file < 0 || write(file, text, strlen(text)) < 0)
        err(1, "%s", path);
    close(file);
}

static void join(const char *folder)
{
    char path[256];
    snprintf(path, sizeof path, "%s/cgroup.procs", folder);
    write_file(path, "0");
}

static void drop_capabilities(void)
{
    for (int cap = 0; cap < 64; cap++)
        if (!(CONTAINER_CAPABILITIES >> cap & 1))
            prctl(PR_CAPBSET_DROP, cap);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct half[2] = {0};
    half[0].effective = half[0].permitted = (unsigned)CONTAINER_CAPABILITIES;
    half[1].effective = half[1].permitted = (unsigned)(CONTAINER_CAPABILITIES >> 32);
    if (syscall(SYS_capset, &header, half))
        err(1, "capset");
}

static void mount_view(void)
{
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("proc", "/proc", "proc", 0, NULL))
        err(1, "mount /proc");
    // Mounted anew it begins at the own cgroup, but not on top of itself.
    if (access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0 &&
        (umount2("/sys/fs/cgroup", MNT_DETACH) || mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL)))
        err(1, "mount /sys/fs/cgroup");
    if (mount("tmpfs", "/dev", "tmpfs", 0, "size=64k") || mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3)))
        err(1, "mount /dev");
}

// A signal to the container's first process is meant for the program, as with any launcher.
static pid_t program;

static void forward(int signal_number)
{
    kill(program, signal_number);
}

static int wait_for(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Returns in the process that becomes the program.
static void enter_container(void)
{
    if (unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWCGROUP))
        err(1, "unshare");
    pid_t first = fork();
    if (first) {
        program = first;
        signal(SIGTERM, forward);
        _exit(wait_for(first));
    }
    mount_view();
    drop_capabilities();
    program = fork();
    if (program) {
        signal(SIGTERM, forward);
        _exit(wait_for(program));
    }
}

int main(int argc, char **argv)
{
    int option, container = 0, uid = 0;
    while ((option = getopt(argc, argv, "+g:a:u:c")) != -1) {
        switch (option) {
        case 'g': join(optarg); break;
        case 'a': write_file("/proc/self/oom_score_adj", optarg); break;
        case 'u': uid = atoi(optarg); break;
        case 'c': container = 1; break;
        default: return 64;
        }
    }
    close_range(3, ~0U, 0);
    if (container)
        enter_container();
    if (uid && (setgroups(0, NULL) || setgid(uid) || setuid(uid)))
        err(1, "uid %d", uid);
    execv(argv[optind], argv + optind);
    err(1, "%s", argv[optind]);
}
