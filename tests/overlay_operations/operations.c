/*
 * What a program inside a container does to files: each operation by its name.
 *
 * One static program without dependencies, so that the same operations run on an
 * overlay that a test has mounted and inside a container of any engine.
 *
 *   operations list            the names, one a line
 *   operations image DIR       makes what the image brings (the lower layer)
 *   operations before DIR      makes what the container had made before
 *   operations NAME DIR        does it
 *   operations held NAME DIR   does it, prints its process's number as it is inside, and
 *                              stays until it is sent a line
 *   operations as UID ...      all of it as this user
 *   operations append FILE     writes a line to its end
 *   operations many DIR COUNT  makes as many empty files, as fast as it can
 *
 * Build: cc -O1 -static -o operations operations.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *doing;

static void must(long result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s: %s\n", doing, what, strerror(errno));
        exit(1);
    }
}
#define MUST(call) must((long)(call), #call)

static void put(const char *path, int flags, const char *text)
{
    int fd = open(path, O_WRONLY | flags, 0644);
    must(fd, path);
    MUST(write(fd, text, strlen(text)));
    MUST(close(fd));
}

static void new(const char *path) { put(path, O_CREAT | O_EXCL, "new text\n"); }
static void more(const char *path) { put(path, O_APPEND, "more\n"); }

static void touch_open(const char *path, int flags)
{
    int fd = open(path, flags, 0644);
    must(fd, path);
    MUST(close(fd));
}

static void look(const char *path)
{
    char text[64];
    int fd = open(path, O_RDONLY);
    must(fd, path);
    MUST(read(fd, text, sizeof text));
    MUST(close(fd));
}

static int take(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)s, (void)kind, (void)at;
    return remove(path);
}
static void rm_rf(const char *path) { MUST(nftw(path, take, 16, FTW_DEPTH | FTW_PHYS)); }

static void mapped(const char *path)
{
    int fd = open(path, O_RDWR);
    must(fd, path);
    char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED)
        must(-1, "mmap");
    m[0] = 'M';
    MUST(msync(m, 4096, MS_SYNC));
    MUST(munmap(m, 4096));
    MUST(close(fd));
}

static void copied(const char *from, const char *to)
{
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY);
    must(in, from), must(out, to);
    MUST(copy_file_range(in, NULL, out, NULL, 5, 0));
    MUST(close(in));
    MUST(close(out));
}

static void cut_open(const char *path)
{
    int fd = open(path, O_WRONLY);
    must(fd, path);
    MUST(ftruncate(fd, 1));
    MUST(close(fd));
}

static void allocated(const char *path)
{
    int fd = open(path, O_WRONLY);
    must(fd, path);
    MUST(fallocate(fd, 0, 0, 8192));
    MUST(close(fd));
}

static void named_late(const char *path)
{
    char own[64];
    int fd = open(".", O_TMPFILE | O_WRONLY, 0644);
    must(fd, "O_TMPFILE");
    MUST(write(fd, "text\n", 5));
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    MUST(linkat(AT_FDCWD, own, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
    MUST(close(fd));
}

static void bound(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    strcpy(at.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    must(fd, "socket");
    MUST(bind(fd, (struct sockaddr *)&at, sizeof at));
    MUST(close(fd));
}

static void exchange(const char *a, const char *b)
{
    MUST(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE));
}

static void times(const char *path)
{
    const struct timespec then[2] = {{1000000000, 0}, {1000000000, 0}};
    MUST(utimensat(AT_FDCWD, path, then, 0));
}

static void xattr(const char *path) { MUST(setxattr(path, "user.note", "x", 1, 0)); }

/* As a package manager or an editor saves. */
static void save(const char *path)
{
    new(".new");
    MUST(rename(".new", path));
}

/* As mv does where rename(2) of a directory of the image is refused (EXDEV). */
static void rename_image_dir(void)
{
    if (rename("idir", "moved") == 0)
        return;
    if (errno != EXDEV)
        must(-1, "rename");
    MUST(mkdir("moved", 0755));
    new("moved/f");
    rm_rf("idir");
}

#define DO(name, ...) static void name(void) { __VA_ARGS__; }
DO(create_write, new("made"))
DO(create_empty, touch_open("made", O_WRONLY | O_CREAT))
DO(append_upper, more("u"))
DO(write_image, more("i"))
DO(write_image_deep, more("idir/sub/deep"))
DO(write_image_linked, more("hard1"))
DO(open_image_rdwr, touch_open("i", O_RDWR))
DO(delete_upper, MUST(unlink("u")))
DO(delete_image, MUST(unlink("i")))
DO(delete_image_deep, MUST(unlink("idir/sub/deep")))
DO(delete_image_link, MUST(unlink("isym")))
DO(delete_copied, MUST(unlink("copied")))
DO(rename_upper, MUST(rename("u", "u2")))
DO(rename_upper_dir, MUST(rename("udir", "udir2")))
DO(rename_image, MUST(rename("i", "i2")))
DO(rename_image_symlink, MUST(rename("isym", "isym2")))
DO(rename_copied, MUST(rename("copied", "copied2")))
DO(rename_upper_over_image, MUST(rename("u", "i")))
DO(rename_image_over_image, MUST(rename("i", "i3")))
DO(rename_into_image_dir, MUST(rename("u", "idir/u")))
DO(chmod_upper, MUST(chmod("u", 0600)))
DO(chmod_image, MUST(chmod("i", 04755)))
DO(chmod_image_dir, MUST(chmod("idir", 0700)))
DO(chmod_image_deep, MUST(chmod("idir/sub/deep", 0600)))
DO(mkdir_p, MUST(mkdir("a", 0755)), MUST(mkdir("a/b", 0755)), MUST(mkdir("a/b/c", 0755)), new("a/b/c/f"))
DO(mkdir_in_image_dir, MUST(mkdir("idir/made", 0755)), new("idir/made/f"))
DO(rm_rf_upper, rm_rf("udir"))
DO(rm_rf_image, rm_rf("idir"))
DO(rmdir_image_empty, MUST(rmdir("iempty")))
DO(rmdir_upper_empty, MUST(rmdir("uempty")))
DO(symlink_new, MUST(symlink("i", "sym")))
DO(hard_link_upper, MUST(link("u", "ulink")))
DO(hard_link_image, MUST(link("i", "ilink")))
DO(hard_link_copied, MUST(link("copied", "clink")))
DO(mkfifo_new, MUST(mkfifo("fifo", 0644)))
DO(socket_bind, bound("socket"))
DO(tmpfile_linkat, named_late("made"))
DO(mmap_upper, mapped("u"))
DO(mmap_image, mapped("i"))
DO(truncate_upper, MUST(truncate("u", 1)))
DO(truncate_image, MUST(truncate("i", 1)))
DO(ftruncate_upper, cut_open("u"))
DO(trunc_write_upper, put("u", O_TRUNC, "x"))
DO(trunc_write_image, put("i", O_TRUNC, "x"))
DO(copy_file_range_upper, copied("u", "copied"))
DO(fallocate_upper, allocated("u"))
DO(save_upper, save("u"))
DO(save_image, save("i"))
DO(chown_upper, MUST(chown("u", 1, 1)))
DO(chown_image, MUST(chown("i", 1, 1)))
DO(utimes_upper, times("u"))
DO(setxattr_upper, xattr("u"))
DO(exchange_upper, exchange("u", "copied"))
DO(exchange_image, exchange("i", "i3"))
DO(read_upper, look("u"))
DO(read_image, look("i"))
DO(recreate_deleted, new("gone"))
DO(delete_recreate_image, MUST(unlink("i")), new("i"))
DO(create_delete, new("made"), MUST(unlink("made")))
DO(recreate_delete, new("gone"), MUST(unlink("gone")))
DO(link_over_deleted, MUST(link("u", "gone")))
DO(mkdir_over_deleted, MUST(mkdir("gonedir", 0755)), new("gonedir/f"))
DO(mkdir_over_deleted_file, MUST(mkdir("gone", 0755)), new("gone/f"))
DO(replace_image_dir, rm_rf("idir"), MUST(mkdir("idir", 0755)), new("idir/f"))
DO(replace_dir_by_file, rm_rf("idir"), new("idir"))
DO(delete_in_copied_dir, MUST(unlink("cdir/f")), MUST(unlink("cdir/g")))
DO(write_in_copied_dir, more("cdir/g"), new("cdir/made"))
DO(save_in_copied_dir, new("cdir/.new"), MUST(rename("cdir/.new", "cdir/g")))
DO(rm_rf_copied_dir, rm_rf("cdir"))
DO(replace_copied_dir, rm_rf("cdir"), MUST(mkdir("cdir", 0755)))
DO(move_out_of_copied_dir, MUST(rename("cdir/g", "g")))

static const struct {
    const char *name;
    void (*run)(void);
} all[] = {
#define OP(name) {#name, name}
    OP(create_write), OP(create_empty), OP(append_upper), OP(write_image), OP(write_image_deep),
    OP(write_image_linked), OP(open_image_rdwr), OP(delete_upper), OP(delete_image),
    OP(delete_image_deep), OP(delete_image_link), OP(delete_copied), OP(rename_upper),
    OP(rename_upper_dir), OP(rename_image), OP(rename_image_symlink), OP(rename_copied),
    OP(rename_upper_over_image), OP(rename_image_over_image), OP(rename_into_image_dir),
    OP(rename_image_dir), OP(chmod_upper), OP(chmod_image), OP(chmod_image_dir),
    OP(chmod_image_deep), OP(mkdir_p), OP(mkdir_in_image_dir), OP(rm_rf_upper), OP(rm_rf_image),
    OP(rmdir_image_empty), OP(rmdir_upper_empty), OP(symlink_new), OP(hard_link_upper),
    OP(hard_link_image), OP(hard_link_copied), OP(mkfifo_new), OP(socket_bind),
    OP(tmpfile_linkat), OP(mmap_upper), OP(mmap_image), OP(truncate_upper), OP(truncate_image),
    OP(ftruncate_upper), OP(trunc_write_upper), OP(trunc_write_image),
    OP(copy_file_range_upper), OP(fallocate_upper), OP(save_upper), OP(save_image),
    OP(chown_upper), OP(chown_image), OP(utimes_upper), OP(setxattr_upper), OP(exchange_upper),
    OP(exchange_image), OP(read_upper), OP(read_image), OP(recreate_deleted),
    OP(delete_recreate_image), OP(create_delete), OP(recreate_delete), OP(link_over_deleted),
    OP(mkdir_over_deleted), OP(mkdir_over_deleted_file), OP(replace_image_dir),
    OP(replace_dir_by_file), OP(delete_in_copied_dir), OP(write_in_copied_dir),
    OP(save_in_copied_dir), OP(rm_rf_copied_dir), OP(replace_copied_dir),
    OP(move_out_of_copied_dir),
};

static void image(void)
{
    new("i"), new("i3"), new("copied"), new("gone"), new("hard1");
    MUST(link("hard1", "hard2"));
    MUST(symlink("i", "isym"));
    MUST(mkdir("idir", 0755)), MUST(mkdir("idir/sub", 0755)), MUST(mkdir("iempty", 0755));
    new("idir/f"), new("idir/sub/deep"), new("idir/sub/other");
    MUST(mkdir("gonedir", 0755));
    new("gonedir/f");
    MUST(mkdir("cdir", 0755)), MUST(mkdir("cdir/sub", 0755));
    new("cdir/f"), new("cdir/g"), new("cdir/sub/h"), new("cdir/gone");
}

static void before(void)
{
    new("u");
    more("copied"), more("cdir/f"), more("cdir/sub/h");
    MUST(unlink("cdir/gone"));
    MUST(unlink("gone"));
    rm_rf("gonedir");
    MUST(mkdir("udir", 0755)), MUST(mkdir("udir/sub", 0755)), MUST(mkdir("uempty", 0755));
    new("udir/f"), new("udir/sub/g");
}

static void stay(void)
{
    char line;
    printf("%d\n", (int)getpid());
    fflush(stdout);
    MUST(read(0, &line, 1));
}

int main(int count, char **words)
{
    int held = 0;
    umask(022);
    doing = "operations";
    if (count > 3 && !strcmp(words[1], "as")) {
        uid_t id = atoi(words[2]);
        MUST(setresgid(id, id, id));
        MUST(setresuid(id, id, id));
        count -= 2, words += 2;
    }
    if (count > 2 && !strcmp(words[1], "held"))
        held = 1, count--, words++;
    doing = count > 1 ? words[1] : "operations";
    if (count == 2 && !strcmp(doing, "list")) {
        for (size_t n = 0; n < sizeof all / sizeof *all; n++)
            puts(all[n].name);
        return 0;
    }
    if (count == 4 && !strcmp(doing, "many")) {
        MUST(chdir(words[2]));
        for (long n = 0; n < atol(words[3]); n++) {
            char name[32];
            snprintf(name, sizeof name, "m%ld", n);
            touch_open(name, O_WRONLY | O_CREAT);
        }
        return 0;
    }
    if (count == 3 && !strcmp(doing, "append"))
        return more(words[2]), 0;
    if (count != 3) {
        fprintf(stderr, "usage: operations list | operations [as UID] image|before|[held] NAME DIR\n");
        return 2;
    }
    MUST(chdir(words[2]));
    if (!strcmp(doing, "image"))
        return image(), 0;
    if (!strcmp(doing, "before"))
        return before(), 0;
    for (size_t n = 0; n < sizeof all / sizeof *all; n++)
        if (!strcmp(doing, all[n].name)) {
            all[n].run();
            if (held)
                stay();
            return 0;
        }
    fprintf(stderr, "operations: there is no %s\n", doing);
    return 2;
}
