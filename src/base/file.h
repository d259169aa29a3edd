/* file.h - files and folders: mapping, atomic and synced writing, copies.
 * Every write goes through genet__file_write so that tests can make the n-th
 * one fail. */
#ifndef GENET_BASE_FILE_H
#define GENET_BASE_FILE_H
#include "genet/genet.h"

typedef struct mapped { const unsigned char *at; size_t size_bytes; } mapped;

bool genet__file_map(mapped *m, const char *path, genet_err *err);      /* read-only; regular files only */
/* Memory that is written once, and then goes wherever a mapped file may go. */
bool genet__file_map_memory(mapped *m, size_t size_bytes, genet_err *err);
void genet__file_unmap(mapped *m);
/* A descriptor to read a regular file, or -1: a FIFO makes nobody wait, a device
 * is not read for ever. */
int genet__file_open(const char *path, genet_err *err);
/* Whole file, one zero byte after it; free with genet__free. */
char *genet__file_read(const char *path, size_t max_bytes, size_t *size_bytes, genet_err *err);
/* All n bytes, whatever signals and short writes; false: see errno. */
bool genet__file_write(int fd, const void *bytes, size_t n);
bool genet__file_sync(int fd);                                          /* false: see errno */
bool genet__file_exists(const char *path);
bool genet__file_exists_in(const char *folder, const char *name);
bool genet__file_is_dir(const char *path);
bool genet__file_make_dirs(const char *path, genet_err *err);           /* mkdir -p */
/* Names in a folder ("." and ".." left out), sorted bytewise; a heap array of
 * heap strings ended by NULL. */
char **genet__file_list(const char *path, genet_err *err);
void genet__file_list_free(char **names);
bool genet__file_remove_tree(const char *path, genet_err *err);         /* absent is fine */
bool genet__file_rename(const char *from, const char *to, genet_err *err);  /* and sync the parent folder */
bool genet__file_sync_dir(const char *path, genet_err *err);
/* Reflink where the file system can, else copy; synced. to must not exist
 * or is replaced atomically. */
bool genet__file_copy(const char *from, const char *to, genet_err *err);

/* A file being written as PATH.tmp, synced and renamed by commit. */
typedef struct writer {
    int      fd;
    char    *path, *tmp;        /* tmp "": path is no regular file, and written as it is */
    unsigned char *buffer;
    size_t   buffered;
    int64_t  written;           /* bytes added so far, and their CRC-32 */
    uint32_t crc;
    bool     failed;            /* once failed, later calls repeat err */
    genet_err err;
} writer;

bool genet__writer_open(writer *w, const char *path, genet_err *err);
bool genet__writer_add(writer *w, const void *bytes, size_t n, genet_err *err);
bool genet__writer_commit(writer *w, genet_err *err);       /* w is released in any case */
void genet__writer_abandon(writer *w);                      /* removes the .tmp */
bool genet__file_write_all(const char *path, const void *bytes, size_t n, genet_err *err);   /* the four above */

/* CRC-32, zlib's. */
uint32_t genet__crc32(uint32_t crc, const void *bytes, size_t n);
bool genet__file_crc32(const char *path, uint32_t *crc, int64_t *size_bytes, genet_err *err);

/* Fault injection: let n write/sync/rename calls succeed and the next fail
 * with errno; negative: never.  Returns calls made since. */
long genet__file_fail_after(long n, int errno_value);
#endif
