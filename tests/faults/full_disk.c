/* A disk that fills up: loaded before all other libraries, it lets the writes below one directory fail with ENOSPC.
 *
 * Every call that needs room there is counted: bytes written, sync'ed or preallocated, files, directories and names
 * made. From the one numbered `from` by full_disk_from (counted from 0) to before `until` all of them fail, and the file
 * system says that it has no room. Reading, renaming, shrinking and removing go on, as on a real one. Streams are
 * watched themselves, for the C library writes their bytes by a way of its own.
 *
 * If it kills, the process dies by SIGKILL before the call numbered `from`; renaming and removing are counted then, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static atomic_long done;
static long first = LONG_MAX, last = LONG_MAX;
static int deadly;

/* Begin to count below a directory, all of whose links are resolved; below 0 there is no such call. */
void full_disk_from(const char *directory, long from, long until, int kills)
{
    snprintf(root, sizeof root, "%s", directory);
    atomic_store(&done, 0);
    first = from < 0 ? LONG_MAX : from;
    last = until < 0 ? LONG_MAX : until;
    deadly = kills;
}

/* How many calls have been counted. */
long full_disk_calls(void) { return atomic_load(&done); }

static int below(const char *path)
{
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && (path[length] == '/' || path[length] == '\0');
}

static int has(int descriptor)
{
    char link[64], path[PATH_MAX];
    if (!root[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    return below(path);
}

/* Whether a path, maybe of something that is not there yet, is below the directory. */
static int would_have(int at, const char *path)
{
    char full[PATH_MAX * 2];
    if (!root[0])
        return 0;
    if (path[0] == '/')
        return below(path);
    if (at != AT_FDCWD)
        return has(at);
    if (!getcwd(full, PATH_MAX))
        return 0;
    strcat(full, "/");
    strncat(full, path, PATH_MAX - 1);
    return below(full);
}

static int fails(long number) { return number >= first && number < last; }

static int full(void)
{
    if (!fails(atomic_fetch_add(&done, 1)))
        return 0;
    if (deadly)
        kill(getpid(), SIGKILL);
    errno = ENOSPC;
    return 1;
}

#define REAL(name, type, ...)                                                                                          \
    static type (*real)(__VA_ARGS__);                                                                                  \
    if (!real)                                                                                                         \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);

#define OF_DESCRIPTOR(type, name, parameters, arguments, descriptor, ...)                                              \
    type name parameters                                                                                               \
    {                                                                                                                  \
        REAL(name, type, __VA_ARGS__)                                                                                  \
        if (has(descriptor) && full())                                                                                 \
            return -1;                                                                                                 \
        return real arguments;                                                                                         \
    }

OF_DESCRIPTOR(ssize_t, write, (int d, const void *b, size_t n), (d, b, n), d, int, const void *, size_t)
OF_DESCRIPTOR(ssize_t, pwrite, (int d, const void *b, size_t n, off_t o), (d, b, n, o), d, int, const void *, size_t, off_t)
OF_DESCRIPTOR(ssize_t, pwrite64, (int d, const void *b, size_t n, off64_t o), (d, b, n, o), d, int, const void *, size_t, off64_t)
OF_DESCRIPTOR(ssize_t, writev, (int d, const struct iovec *v, int n), (d, v, n), d, int, const struct iovec *, int)
OF_DESCRIPTOR(ssize_t, pwritev, (int d, const struct iovec *v, int n, off_t o), (d, v, n, o), d, int, const struct iovec *, int, off_t)
OF_DESCRIPTOR(int, fsync, (int d), (d), d, int)
OF_DESCRIPTOR(int, fdatasync, (int d), (d), d, int)
OF_DESCRIPTOR(int, fallocate, (int d, int m, off_t o, off_t n), (d, m, o, n), d, int, int, off_t, off_t)

int posix_fallocate(int d, off_t o, off_t n)
{
    REAL(posix_fallocate, int, int, off_t, off_t)
    return has(d) && full() ? ENOSPC : real(d, o, n);
}

static int grows(int d, off_t size)
{
    struct stat found;
    return has(d) && !fstat(d, &found) && size > found.st_size;
}

int ftruncate(int d, off_t n)
{
    REAL(ftruncate, int, int, off_t)
    return grows(d, n) && full() ? -1 : real(d, n);
}

int ftruncate64(int d, off64_t n)
{
    REAL(ftruncate64, int, int, off64_t)
    return grows(d, n) && full() ? -1 : real(d, n);
}

static int makes(int at, const char *path, int flags)
{
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return would_have(at, path);
    return (flags & O_CREAT) && would_have(at, path) && faccessat(at, path, F_OK, AT_SYMLINK_NOFOLLOW);
}

#define OPENING(name)                                                                                                  \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        REAL(name, int, const char *, int, ...)                                                                        \
        return makes(AT_FDCWD, path, flags) && full() ? -1 : real(path, flags, mode);                                  \
    }
#define OPENING_AT(name)                                                                                               \
    int name(int at, const char *path, int flags, ...)                                                                 \
    {                                                                                                                  \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        REAL(name, int, int, const char *, int, ...)                                                                   \
        return makes(at, path, flags) && full() ? -1 : real(at, path, flags, mode);                                    \
    }
OPENING(open)
OPENING(open64)
OPENING_AT(openat)
OPENING_AT(openat64)

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir, int, const char *, mode_t)
    return would_have(AT_FDCWD, path) && faccessat(AT_FDCWD, path, F_OK, 0) && full() ? -1 : real(path, mode);
}

int link(const char *from, const char *to)
{
    REAL(link, int, const char *, const char *)
    return would_have(AT_FDCWD, to) && full() ? -1 : real(from, to);
}

#define MOMENT(name, parameters, arguments, at, path, ...)                                                             \
    int name parameters                                                                                                \
    {                                                                                                                  \
        REAL(name, int, __VA_ARGS__)                                                                                   \
        if (deadly && would_have(at, path))                                                                            \
            full();                                                                                                    \
        return real arguments;                                                                                         \
    }
MOMENT(rename, (const char *f, const char *t), (f, t), AT_FDCWD, t, const char *, const char *)
MOMENT(unlink, (const char *p), (p), AT_FDCWD, p, const char *)
MOMENT(unlinkat, (int at, const char *p, int flags), (at, p, flags), at, p, int, const char *, int)
MOMENT(rmdir, (const char *p), (p), AT_FDCWD, p, const char *)

#define OPENING_STREAM(name)                                                                                           \
    FILE *name(const char *path, const char *mode)                                                                     \
    {                                                                                                                  \
        REAL(name, FILE *, const char *, const char *)                                                                 \
        int flags = strchr(mode, 'w') || strchr(mode, 'a') ? O_CREAT : 0;                                              \
        return makes(AT_FDCWD, path, flags) && full() ? NULL : real(path, mode);                                       \
    }
OPENING_STREAM(fopen)
OPENING_STREAM(fopen64)

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream)
{
    REAL(fwrite, size_t, const void *, size_t, size_t, FILE *)
    return has(fileno(stream)) && full() ? 0 : real(bytes, size, count, stream);
}

/* What a stream still holds is lost when the disk is full at the end. */
static int loses(FILE *stream)
{
    if (!__fpending(stream) || !has(fileno(stream)) || !full())
        return 0;
    __fpurge(stream);
    return 1;
}

int fflush(FILE *stream)
{
    REAL(fflush, int, FILE *)
    if (!stream || !loses(stream))
        return real(stream);
    errno = ENOSPC;
    return EOF;
}

int fclose(FILE *stream)
{
    REAL(fclose, int, FILE *)
    int lost = loses(stream), closed = real(stream);
    if (lost)
        errno = ENOSPC;
    return lost ? EOF : closed;
}

#define ROOM(name, type, here, target)                                                                                \
    int name(target place, struct type *found)                                                                         \
    {                                                                                                                  \
        REAL(name, int, target, struct type *)                                                                         \
        int result = real(place, found);                                                                               \
        if (!result && !deadly && here && fails(atomic_load(&done) - 1))                                                          \
            found->f_bfree = found->f_bavail = 0;                                                                      \
        return result;                                                                                                 \
    }
ROOM(statvfs, statvfs, root[0], const char *)
ROOM(statvfs64, statvfs64, root[0], const char *)
ROOM(fstatvfs, statvfs, has(place), int)
ROOM(fstatvfs64, statvfs64, has(place), int)
