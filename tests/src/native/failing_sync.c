/* Preloaded into a node: the first sync of a file in a place fails with EIO once a trigger file is there. What is synced there is written down,
 * so that a test sees whether the call was made again. While a second file is there, every sync takes as many milliseconds longer as it says;
 * each that did adds a byte to a third. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int fails(int fd) {
    const char *place = getenv("AUMBRY_SYNC_PLACE");
    const char *trigger = getenv("AUMBRY_SYNC_TRIGGER");
    const char *seen = getenv("AUMBRY_SYNC_SEEN");
    char link[64], path[4096], line[4200];
    if (!place || !trigger || !seen) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, place)) return 0;
    /* Only one thread removes it. */
    int failed = unlink(trigger) == 0;
    if (!failed && access(seen, F_OK) != 0) return 0;
    int file = open(seen, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file >= 0) {
        int size = snprintf(line, sizeof line, "%s %s\n", failed ? "failed" : "synced", path);
        if (write(file, line, (size_t)size) != size) abort();
        close(file);
    }
    return failed;
}

static void slows(void) {
    const char *slow = getenv("AUMBRY_SYNC_SLOW");
    const char *slowed = getenv("AUMBRY_SYNC_SLOWED");
    char text[16] = "";
    if (!slow || !slowed) return;
    int file = open(slow, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return;
    struct timespec left = { atol(text) / 1000, atol(text) % 1000 * 1000000 };
    file = open(slowed, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file >= 0) {
        if (write(file, "s", 1) != 1) abort();
        close(file);
    }
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (fails(fd)) { errno = EIO; return -1; }
    slows();
    return real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (fails(fd)) { errno = EIO; return -1; }
    slows();
    return real(fd);
}

int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned int flags) {
    static int (*real)(int, off64_t, off64_t, unsigned int);
    if (!real) real = (int (*)(int, off64_t, off64_t, unsigned int))dlsym(RTLD_NEXT, "sync_file_range");
    /* Without flags it writes nothing: RocksDB asks so whether the call is there. */
    if (flags != 0 && fails(fd)) { errno = EIO; return -1; }
    return real(fd, offset, bytes, flags);
}
