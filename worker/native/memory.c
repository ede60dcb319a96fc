/* What is done to the memory of this process from outside of the interpreter (worker/backing.py, worker/immortal.py). */

#define _GNU_SOURCE /* pwrite, MAP_FIXED */

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

struct region {
    size_t start;      /* address, at the beginning of a page */
    size_t size;       /* bytes, whole pages */
    size_t offset;     /* in the file, at the beginning of a page */
    size_t protection; /* PROT_READ and the like */
};

/* Write the content of every region to the file; then replace every region by a private mapping of it. None overlap.
 *
 * The memory must not change in between. So all of it is done in one call, during which nothing else of the process
 * runs: it has one thread, and this function writes to its stack only. The library is linked so that nothing has to be
 * looked up at the first call.
 *
 * Returns 0, or an errno: nothing was replaced where something could not be written, else all but what could not be.
 */
int back(int file, const struct region *regions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct region *one = &regions[i];
        for (size_t done = 0; done < one->size;) {
            const char *from = (const char *)one->start + done;
            ssize_t written = pwrite(file, from, one->size - done, (off_t)(one->offset + done));
            if (written < 0 && errno == EINTR)
                continue;
            if (written <= 0)
                return written < 0 ? errno : EIO;
            done += (size_t)written;
        }
    }
    int code = 0;
    for (size_t i = 0; i < count; i++) {
        const struct region *one = &regions[i];
        void *mapped = mmap((void *)one->start, one->size, (int)one->protection, MAP_PRIVATE | MAP_FIXED, file,
                            (off_t)one->offset);
        if (mapped == MAP_FAILED && code == 0)
            code = errno;
    }
    return code;
}

/* Give each object the count of references that is never changed.
 *
 * addresses: of the objects, which begin with the 32 bits that count
 * fresh: becomes 1 for each that had another count, else 0
 */
void make_immortal(const uintptr_t *addresses, size_t count, uint32_t mark, uint8_t *fresh)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t *references = (uint32_t *)addresses[i];
        fresh[i] = *references != mark;
        if (fresh[i])
            *references = mark;
    }
}
