/* Writes many files as fast as the disk takes them, or tells the time: what a measured step does should cost nothing itself.
 *
 *     bench write FOLDER FILES PER-FOLDER LEAST MOST SEED     files of LEAST to MOST bytes, other bytes for another seed
 *     bench now                                               "ended=" and nanoseconds since 1970
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WORDS (1 << 16)

static uint64_t state;

/* Marsaglia's xorshift: bytes that do not compress and are not shared */
static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void folder(const char *path)
{
    if (mkdir(path, 0755) && errno != EEXIST)
        fail(path);
}

static void file(const char *path, size_t size)
{
    static uint64_t words[WORDS];
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (out < 0)
        fail(path);
    while (size) {
        size_t part = size < sizeof words ? size : sizeof words;
        for (size_t i = 0; i * sizeof *words < part; i++)
            words[i] = next();
        ssize_t written = write(out, words, part);
        if (written <= 0)
            fail(path);
        size -= (size_t)written;
    }
    if (close(out))
        fail(path);
}

int main(int count, char **words)
{
    if (count == 2 && !strcmp(words[1], "now")) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        printf("ended=%lld%09ld\n", (long long)now.tv_sec, now.tv_nsec);
        return 0;
    }
    if (count != 8 || strcmp(words[1], "write")) {
        fputs("usage: bench write FOLDER FILES PER-FOLDER LEAST MOST SEED | bench now\n", stderr);
        return 2;
    }
    long files = atol(words[3]), per = atol(words[4]), least = atol(words[5]), most = atol(words[6]);
    char path[4096];
    /* zero would stay zero */
    state = strtoull(words[7], NULL, 10) * 2 + 1;
    for (int i = 0; i < 32; i++)
        next();
    folder(words[2]);
    for (long i = 0; i < files; i++) {
        if (i % per == 0) {
            snprintf(path, sizeof path, "%s/%ld", words[2], i / per);
            folder(path);
        }
        snprintf(path, sizeof path, "%s/%ld/file%ld", words[2], i / per, i);
        file(path, (size_t)least + (size_t)(next() % (uint64_t)(most - least + 1)));
    }
    return 0;
}
