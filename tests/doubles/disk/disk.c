/* A disk that loses power, fails and fills up, for one program: preloaded, it stands between the program and the
 * system's calls for files below DISK_SHIM_DIR, and no others.
 *
 * The program sees every write at once. For each 512-byte sector written since the file's last fsync, this keeps
 * what the disk has for certain. Power loss writes some of these back, at random, so that unsynced writes are lost,
 * torn and reordered, and ends the process at once. An fsync that fails leaves its sectors as a page cache does: the
 * program reads what it wrote, a later fsync succeeds, and the disk never gets them unless they are written again.
 *
 * Names (creation, rename, unlink) are durable at once. SQLite's shared memory (-shm) is no file on a disk, and is left
 * alone. Only write, pwrite, ftruncate, fsync, fdatasync, rename and unlink are operations.
 *
 *   DISK_SHIM_DIR=DIR              the folder, as an absolute path without links
 *   DISK_SHIM_SEED=N               what is lost
 *   DISK_SHIM_CRASH_AFTER=N        power is lost in the N-th operation; the process ends with 137
 *   DISK_SHIM_FSYNC_FAIL=N[-M]     these fsyncs fail with EIO
 *   DISK_SHIM_FSYNC_LIES=1         an fsync succeeds, and nothing is on the disk
 *   DISK_SHIM_WRITE_FAIL=N[-M]     these writes fail with EIO
 *   DISK_SHIM_FSYNC_DELAY_MS=N     how long every fsync takes
 *   DISK_SHIM_FSYNC_WHILE=FILE     while this exists, no fsync ends
 *   DISK_SHIM_FULL_AFTER_BYTES=N   files grow by this much together, then ENOSPC
 *   DISK_SHIM_FREED=FILE           once this exists, there is room again
 *   DISK_SHIM_READ_ONLY_WHILE=FILE while this exists, nothing can be changed: EROFS
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512
#define FDS_MAX 4096
#define FILES_MAX 256

/* A sector that was written since the last fsync that succeeded. */
struct sector {
    unsigned char durable[SECTOR];
    /* What the last write replaced. */
    unsigned char before[SECTOR];
    /* Its fsync failed: only a new write brings it to the disk. */
    int stuck;
};

struct file {
    int used;
    dev_t dev;
    ino_t ino;
    char path[PATH_MAX];
    struct sector **sectors;
    size_t count;
    off_t durable_size;
};

static struct file files[FILES_MAX];
static struct file *by_fd[FDS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static char folder[PATH_MAX];
static const char *freed, *read_only_while, *fsync_while;
static long crash_after, delay_ms, lies, full_after = -1;
static long fsync_fail[2], write_fail[2];
static long operations, fsyncs, writes, grown;
static uint64_t chance_state = 1;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_close)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

static long number(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value ? atol(value) : otherwise;
}

static void range(const char *name, long *into) {
    const char *value = getenv(name);
    if (!value) return;
    const char *dash = strchr(value, '-');
    into[0] = atol(value);
    into[1] = dash ? atol(dash + 1) : into[0];
}

__attribute__((constructor)) static void begin(void) {
    static int begun;
    if (begun) return;
    begun = 1;
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_close = dlsym(RTLD_NEXT, "close");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    const char *dir = getenv("DISK_SHIM_DIR");
    if (!dir) return;
    snprintf(folder, sizeof folder, "%s/", dir);
    freed = getenv("DISK_SHIM_FREED");
    read_only_while = getenv("DISK_SHIM_READ_ONLY_WHILE");
    fsync_while = getenv("DISK_SHIM_FSYNC_WHILE");
    crash_after = number("DISK_SHIM_CRASH_AFTER", 0);
    lies = number("DISK_SHIM_FSYNC_LIES", 0);
    delay_ms = number("DISK_SHIM_FSYNC_DELAY_MS", 0);
    full_after = number("DISK_SHIM_FULL_AFTER_BYTES", -1);
    range("DISK_SHIM_FSYNC_FAIL", fsync_fail);
    range("DISK_SHIM_WRITE_FAIL", write_fail);
    chance_state = 0x9E3779B97F4A7C15u * (uint64_t)(number("DISK_SHIM_SEED", 1) + 1);
}

/* Below `most`, at random (splitmix64). */
static uint64_t chance(uint64_t most) {
    uint64_t z = (chance_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return most ? (z ^ (z >> 31)) % most : 0;
}

/* Without the program's own calls, which are these here. */
static void say(const char *format, ...) {
    char line[200];
    va_list rest;
    va_start(rest, format);
    int length = vsnprintf(line, sizeof line, format, rest);
    va_end(rest);
    if (length > 0 && real_write(2, line, (size_t)length) < 0) return;
}

static int is_ours(const char *path) {
    size_t length = strlen(path);
    if (!folder[0] || strncmp(path, folder, strlen(folder)) != 0) return 0;
    return length < 4 || strcmp(path + length - 4, "-shm") != 0;
}

/* The absolute path that a call names; links inside it are not followed. */
static int named(const char *path, char *into) {
    if (path[0] == '/') {
        snprintf(into, PATH_MAX, "%s", path);
    } else {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return 0;
        while (path[0] == '.' && path[1] == '/') path += 2;
        if (snprintf(into, PATH_MAX, "%s/%s", here, path) >= PATH_MAX) return 0;
    }
    return is_ours(into);
}

static int is_read_only(void) { return read_only_while && access(read_only_while, F_OK) == 0; }

static int is_in(const long *range, long n) { return range[0] && n >= range[0] && n <= range[1]; }

static off_t size_of(int fd) {
    struct stat stat;
    return fstat(fd, &stat) == 0 ? stat.st_size : 0;
}

static struct file *file_of(int fd) { return fd >= 0 && fd < FDS_MAX ? by_fd[fd] : NULL; }

/* Notes a file that was opened; its size is what the disk has, unless it is known already. */
static void opened(int fd, const char *path) {
    struct stat stat;
    if (fd < 0 || fd >= FDS_MAX || fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) return;
    struct file *free = NULL;
    for (struct file *file = files; file < files + FILES_MAX; file++) {
        if (!file->used && !free) free = file;
        if (file->used && file->dev == stat.st_dev && file->ino == stat.st_ino) {
            by_fd[fd] = file;
            return;
        }
    }
    if (!free) abort();
    memset(free, 0, sizeof *free);
    free->used = 1;
    free->dev = stat.st_dev;
    free->ino = stat.st_ino;
    free->durable_size = stat.st_size;
    snprintf(free->path, sizeof free->path, "%s", path);
    by_fd[fd] = free;
}

static void forget_sectors(struct file *file, int also_stuck) {
    for (size_t i = 0; i < file->count; i++) {
        if (file->sectors[i] && (also_stuck || !file->sectors[i]->stuck)) {
            free(file->sectors[i]);
            file->sectors[i] = NULL;
        }
    }
}

/* Keeps what the disk has of the sectors that are about to change. */
static void keep(struct file *file, int fd, off_t from, off_t to) {
    if (to <= from) return;
    size_t last = (size_t)((to - 1) / SECTOR);
    if (last >= file->count) {
        size_t count = 2 * last + 64;
        struct sector **more = realloc(file->sectors, count * sizeof *more);
        if (!more) abort();
        memset(more + file->count, 0, (count - file->count) * sizeof *more);
        file->sectors = more;
        file->count = count;
    }
    for (size_t i = (size_t)(from / SECTOR); i <= last; i++) {
        unsigned char now[SECTOR] = {0};
        if (pread(fd, now, SECTOR, (off_t)i * SECTOR) < 0) abort();
        struct sector *sector = file->sectors[i];
        if (!sector) {
            sector = file->sectors[i] = calloc(1, sizeof *sector);
            if (!sector) abort();
            memcpy(sector->durable, now, SECTOR);
        }
        memcpy(sector->before, now, SECTOR);
        sector->stuck = 0;
    }
}

/* Writes what power loss leaves of one file. */
static void lose(struct file *file, long *lost, long *unsynced) {
    static const int kept_percent[] = {0, 100, 50, 10, 90};
    int percent = kept_percent[chance(5)];
    int fd = real_open(file->path, O_RDWR);
    if (fd < 0) return;
    off_t size = size_of(fd), left = size;
    if (size > file->durable_size) {
        off_t more = size - file->durable_size;
        switch (chance(3)) {
        case 0: left = file->durable_size; break;
        case 1: left = file->durable_size + (off_t)chance((uint64_t)more + 1); break;
        default: break;
        }
    } else if (chance(2)) {
        left = file->durable_size;
    }
    for (size_t i = 0; i < file->count; i++) {
        struct sector *sector = file->sectors[i];
        if (!sector) continue;
        ++*unsynced;
        int kept = !sector->stuck && (int)chance(100) < percent && (off_t)i * SECTOR < size;
        if (kept) continue;
        ++*lost;
        int before = !sector->stuck && (off_t)i * SECTOR < size && chance(4) == 0;
        if (real_pwrite(fd, before ? sector->before : sector->durable, SECTOR, (off_t)i * SECTOR) < 0) abort();
    }
    if (real_ftruncate(fd, left) != 0) abort();
    real_close(fd);
}

static void lose_power(void) {
    long lost = 0, unsynced = 0;
    for (struct file *file = files; file < files + FILES_MAX; file++) {
        if (file->used) lose(file, &lost, &unsynced);
    }
    say("disk: power lost in operation %ld, %ld of %ld unsynced sectors lost\n", operations, lost, unsynced);
    _exit(137);
}

/* Counts an operation; whether power is lost in it. */
static int is_last(void) { return ++operations == crash_after; }

static int open_ours(const char *path, int flags, mode_t mode) {
    int changes = (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0;
    if (changes && is_read_only()) {
        errno = EROFS;
        return -1;
    }
    /* What is overwritten has to be read. */
    int readable = (flags & O_ACCMODE) == O_WRONLY ? (flags & ~O_ACCMODE) | O_RDWR : flags;
    pthread_mutex_lock(&lock);
    int fd = real_open(path, readable & ~O_TRUNC, mode);
    if (fd >= 0) {
        opened(fd, path);
        struct file *file = file_of(fd);
        if (file && flags & O_TRUNC) {
            keep(file, fd, 0, size_of(fd));
            if (real_ftruncate(fd, 0) != 0) abort();
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

int open64(const char *path, int flags, ...) {
    begin();
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    char full[PATH_MAX];
    return named(path, full) ? open_ours(full, flags, mode) : real_open(path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...) {
    begin();
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    char full[PATH_MAX];
    int is_plain = at == AT_FDCWD || path[0] == '/';
    return is_plain && named(path, full) ? open_ours(full, flags, mode) : real_openat(at, path, flags, mode);
}

int open(const char *path, int flags, ...) __attribute__((alias("open64")));
int openat(int at, const char *path, int flags, ...) __attribute__((alias("openat64")));

int close(int fd) {
    begin();
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FDS_MAX) by_fd[fd] = NULL;
    int result = real_close(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

/* How much of a write there is room for. */
static size_t room(int fd, off_t at, size_t length) {
    off_t end = at + (off_t)length, more = end - size_of(fd);
    if (full_after < 0 || more <= 0 || (freed && access(freed, F_OK) == 0)) return length;
    off_t left = full_after > grown ? full_after - grown : 0;
    if (more > left) {
        off_t cut = more - left;
        length = cut >= (off_t)length ? 0 : length - (size_t)cut;
        more = left;
    }
    grown += more;
    return length;
}

static ssize_t write_ours(struct file *file, int fd, const void *data, size_t length, off_t at) {
    int last = is_last(), error = is_in(write_fail, ++writes) ? EIO : is_read_only() ? EROFS : 0;
    size_t fits = error ? 0 : room(fd, at, length);
    if (!error && length && !fits) error = ENOSPC;
    if (error) {
        if (last) lose_power();
        errno = error;
        return -1;
    }
    keep(file, fd, at, at + (off_t)fits);
    ssize_t written = real_pwrite(fd, data, fits, at);
    if (last) lose_power();
    return written;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) {
    begin();
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    ssize_t written = file ? write_ours(file, fd, data, length, at) : -2;
    pthread_mutex_unlock(&lock);
    return file ? written : real_pwrite(fd, data, length, at);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) __attribute__((alias("pwrite64")));

ssize_t write(int fd, const void *data, size_t length) {
    begin();
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    ssize_t written = -1;
    if (file) {
        off_t at = fcntl(fd, F_GETFL) & O_APPEND ? size_of(fd) : lseek(fd, 0, SEEK_CUR);
        written = write_ours(file, fd, data, length, at);
        if (written > 0) lseek(fd, at + written, SEEK_SET);
    }
    pthread_mutex_unlock(&lock);
    return file ? written : real_write(fd, data, length);
}

int ftruncate64(int fd, off_t size) {
    begin();
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    if (file) {
        if (is_last()) lose_power();
        off_t now = size_of(fd);
        if (is_read_only()) {
            pthread_mutex_unlock(&lock);
            return errno = EROFS, -1;
        }
        if (size < now) keep(file, fd, size, now);
    }
    int result = real_ftruncate(fd, size);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t size) __attribute__((alias("ftruncate64")));

static void wait_for_disk(void) {
    struct timespec left = {delay_ms / 1000, delay_ms % 1000 * 1000000};
    while (delay_ms && nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    while (fsync_while && access(fsync_while, F_OK) == 0) usleep(5000);
}

static int sync_ours(struct file *file, int fd) {
    wait_for_disk();
    pthread_mutex_lock(&lock);
    if (is_last()) lose_power();
    int fails = is_in(fsync_fail, ++fsyncs);
    if (fails) {
        for (size_t i = 0; i < file->count; i++) {
            if (file->sectors[i]) file->sectors[i]->stuck = 1;
        }
        say("disk: fsync %ld failed\n", fsyncs);
    } else if (!lies) {
        forget_sectors(file, 0);
        file->durable_size = size_of(fd);
    }
    pthread_mutex_unlock(&lock);
    return fails ? (errno = EIO, -1) : 0;
}

int fsync(int fd) {
    begin();
    struct file *file = file_of(fd);
    return file ? sync_ours(file, fd) : real_fsync(fd);
}

int fdatasync(int fd) {
    begin();
    struct file *file = file_of(fd);
    return file ? sync_ours(file, fd) : real_fdatasync(fd);
}

int rename(const char *from, const char *to) {
    begin();
    char old[PATH_MAX], new[PATH_MAX];
    int ours = named(from, old);
    ours = named(to, new) || ours;
    if (!ours) return real_rename(from, to);
    if (is_read_only()) return errno = EROFS, -1;
    pthread_mutex_lock(&lock);
    if (is_last()) lose_power();
    int result = real_rename(from, to);
    for (struct file *file = files; result == 0 && file < files + FILES_MAX; file++) {
        if (file->used && strcmp(file->path, new) == 0) file->used = 0, forget_sectors(file, 1);
        if (file->used && strcmp(file->path, old) == 0) snprintf(file->path, PATH_MAX, "%s", new);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    begin();
    char full[PATH_MAX];
    if (!named(path, full)) return real_unlink(path);
    if (is_read_only()) return errno = EROFS, -1;
    pthread_mutex_lock(&lock);
    if (is_last()) lose_power();
    int result = real_unlink(path);
    for (struct file *file = files; result == 0 && file < files + FILES_MAX; file++) {
        if (file->used && strcmp(file->path, full) == 0) file->used = 0, forget_sectors(file, 1);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
