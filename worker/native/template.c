/* The life of a template between two words of its slot (worker/template.py): fork a worker, wait for its end.
 *
 * After a fork each page that either of both writes to is copied. The interpreter writes to sixty of them for what is
 * done here; this, to a few of the stack.
 */

#define _GNU_SOURCE /* MSG_CMSG_CLOEXEC, wait4 */

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define FORK 'F'
#define END 'E'
#define DESCRIPTORS 4
#define WORKER (-2)

struct __attribute__((packed)) forked {
    char word;
    int32_t code; /* an errno, 0 when there is a worker */
};

struct __attribute__((packed)) ended {
    char word;
    int32_t status;
    double user_s, system_s;
    int64_t counts[14]; /* the other fields of struct rusage, in their order (getrusage(2)) */
};

/* The slot may have ended; the next attempt to hear from it says so. */
static void tell(int link, const void *said, size_t size)
{
    while (send(link, said, size, MSG_NOSIGNAL) < 0 && errno == EINTR)
        continue;
}

static ssize_t hear(int link, char *command, size_t size, int *descriptors, size_t *count)
{
    union {
        char bytes[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
        struct cmsghdr aligned;
    } control;
    struct iovec room = {command, size};
    struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t heard;
    do
        heard = recvmsg(link, &message, MSG_CMSG_CLOEXEC);
    while (heard < 0 && errno == EINTR);
    *count = 0;
    if (heard < 0)
        return heard;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part != NULL; part = CMSG_NXTHDR(&message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            *count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(descriptors, CMSG_DATA(part), *count * sizeof(int));
        }
    return heard;
}

static void report_end(int link, pid_t pid)
{
    struct rusage used;
    int status;
    while (wait4(pid, &status, 0, &used) < 0)
        if (errno != EINTR)
            return;
    struct ended end = {
        END,
        status,
        (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec * 1e-6,
        (double)used.ru_stime.tv_sec + (double)used.ru_stime.tv_usec * 1e-6,
        {used.ru_maxrss, used.ru_ixrss, used.ru_idrss, used.ru_isrss, used.ru_minflt, used.ru_majflt, used.ru_nswap,
         used.ru_inblock, used.ru_oublock, used.ru_msgsnd, used.ru_msgrcv, used.ru_nsignals, used.ru_nvcsw,
         used.ru_nivcsw},
    };
    tell(link, &end, sizeof end);
}

/* Serve FORK until there is something else to do.
 *
 * link: the socket of the slot
 * command: room for what else it says
 * descriptors: those of the worker
 * name: of the worker, for people
 *
 * Returns the size of another command, 0 when the slot has ended, -1 with errno when nothing can be heard of it, or
 * WORKER in the worker.
 */
ssize_t serve(int link, char *command, size_t size, int *descriptors, const char *name)
{
    for (;;) {
        size_t count;
        ssize_t heard = hear(link, command, size, descriptors, &count);
        if (heard != 1 || command[0] != FORK || count != DESCRIPTORS) {
            for (size_t i = 0; i < count; i++)
                close(descriptors[i]);
            return heard;
        }
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_NAME, name);
            return WORKER;
        }
        struct forked forked = {FORK, pid < 0 ? errno : 0};
        for (size_t i = 0; i < count; i++)
            close(descriptors[i]);
        tell(link, &forked, sizeof forked);
        if (pid > 0)
            report_end(link, pid);
    }
}
