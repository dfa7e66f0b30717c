/* Tries the known ways out of a sandbox, each with arguments that do no harm where it works, and tells what came of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Numbers that older headers lack; they are the same on all machines. */
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_CLONE3 435
#define NR_PIDFD_GETFD 438
#define NR_MOUNT_SETATTR 442
#define NR_UNKNOWN 499

static void told(const char *name, long result) {
    printf("%s %s\n", name, result >= 0 ? "ok" : strerrorname_np(errno));
}

#define TRY(name, call) (errno = 0, told(name, (long)(call)))

static void may_write(const char *path) {
    errno = 0;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    printf("write:%s %s\n", path, fd >= 0 ? "ok" : strerrorname_np(errno));
    if (fd >= 0) close(fd);
}

/* A node made here, and what opening it gives. */
static void device(const char *path, mode_t kind, unsigned major, unsigned minor) {
    unlink(path);
    errno = 0;
    int made = mknod(path, kind | 0666, makedev(major, minor));
    printf("mknod:%s %s\n", path, made == 0 ? "ok" : strerrorname_np(errno));
    errno = 0;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    printf("open:%s %s\n", path, fd >= 0 ? "ok" : strerrorname_np(errno));
    if (fd >= 0) close(fd);
    unlink(path);
}

static long cloned(unsigned long flags) {
    long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    if (pid > 0) waitpid((pid_t)pid, NULL, 0);
    return pid;
}

static void namespaces(void) {
    static const struct { const char *name; unsigned long flag; } all[] = {
        {"user", CLONE_NEWUSER}, {"mnt", CLONE_NEWNS}, {"pid", CLONE_NEWPID}, {"net", CLONE_NEWNET},
        {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS}, {"cgroup", CLONE_NEWCGROUP},
    };
    char name[32];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(name, sizeof name, "clone:%s", all[i].name);
        TRY(name, cloned(all[i].flag));
        snprintf(name, sizeof name, "unshare:%s", all[i].name);
        TRY(name, unshare((int)all[i].flag));
    }
    TRY("clone:process", cloned(0));
    TRY("clone3", syscall(NR_CLONE3, NULL, 0));
    int self = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    TRY("setns", setns(self, 0));
}

static void kernel(void) {
    TRY("newer-call", syscall(NR_UNKNOWN, 0, 0, 0, 0));
    TRY("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL));
    TRY("umount", syscall(SYS_umount2, "/proc", 2));
    TRY("fsopen", syscall(NR_FSOPEN, "tmpfs", 0));
    TRY("open_tree", syscall(NR_OPEN_TREE, AT_FDCWD, "/", 1));
    TRY("move_mount", syscall(NR_MOVE_MOUNT, -1, "", -1, "", 0));
    TRY("mount_setattr", syscall(NR_MOUNT_SETATTR, -1, "", 0, NULL, 0));
    TRY("pivot_root", syscall(SYS_pivot_root, ".", "."));
    TRY("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, O_RDONLY));
    TRY("keyctl", syscall(SYS_keyctl, 0, -3, 0, 0, 0));
    TRY("add_key", syscall(SYS_add_key, "user", "probe", "x", 1, -3));
    TRY("request_key", syscall(SYS_request_key, "user", "probe", NULL, 0));
    TRY("bpf", syscall(SYS_bpf, 0, NULL, 0));
    TRY("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    TRY("userfaultfd", syscall(SYS_userfaultfd, 0));
    TRY("io_uring_setup", syscall(425, 1, NULL));
    TRY("init_module", syscall(SYS_init_module, NULL, 0, ""));
    TRY("finit_module", syscall(SYS_finit_module, -1, "", 0));
    TRY("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
    TRY("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
    TRY("swapon", syscall(SYS_swapon, "/no/such", 0));
    TRY("acct", syscall(SYS_acct, "/no/such"));
    TRY("quotactl", syscall(SYS_quotactl, 0, NULL, 0, NULL));
    TRY("settimeofday", syscall(SYS_settimeofday, NULL, NULL));
    TRY("sethostname", syscall(SYS_sethostname, "probe", 5));
    TRY("syslog", syscall(SYS_syslog, 10, NULL, 0));
    TRY("vhangup", syscall(SYS_vhangup));
    TRY("fanotify_init", syscall(SYS_fanotify_init, 0, 0));
    TRY("kcmp", syscall(SYS_kcmp, 1, 1, 0, 0, 0));
    TRY("personality:no-random", personality(ADDR_NO_RANDOMIZE));
    TRY("personality:question", personality(0xffffffff));
    TRY("socket:vsock", socket(40, SOCK_STREAM, 0));
    TRY("socket:alg", socket(38, SOCK_SEQPACKET, 0));
    TRY("socket:packet", socket(AF_PACKET, SOCK_RAW, 0));
}

static void rights(void) {
    struct { uint32_t version; int pid; } header = {0x20080522, 0};
    struct { uint32_t effective, permitted, inheritable; } data[2] = {{~0u, ~0u, 0}, {0x1ff, 0x1ff, 0}};
    TRY("capset:all", syscall(SYS_capset, &header, data));
    TRY("ambient:sys_admin", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
    struct sched_param param = {.sched_priority = 1};
    TRY("sched:fifo", sched_setscheduler(0, SCHED_FIFO, &param));
    TRY("nice:-5", setpriority(PRIO_PROCESS, 0, -5));
    TRY("xattr:trusted", setxattr("/tmp", "trusted.overlay.opaque", "y", 1, 0));
    TRY("whiteout", mknod("/tmp/whiteout", S_IFCHR | 0666, makedev(0, 0)));
    TRY("chroot", chroot("/"));
    TRY("tiocsti", ioctl(0, TIOCSTI, "x"));
    TRY("immutable", ioctl(open("/tmp", O_RDONLY | O_CLOEXEC), _IOW('f', 2, long), &(long){0x10}));
}

/* The processes of the host, of which this is one, have no numbers here; pid 1 is the process of the RUN. */
static void processes(pid_t host) {
    TRY("ptrace:host", ptrace(PTRACE_SEIZE, host, 0, 0));
    TRY("kill:host", kill(host, 0));
    TRY("pidfd_getfd", syscall(NR_PIDFD_GETFD, -1, 0, 0));
    printf("parent %d\n", getppid());
}

static void files(void) {
    static const char *const paths[] = {
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom",
        "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity", "/proc/kcore", "/proc/self/exe", "/sys/kernel/uevent_helper",
        "/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled", "/dev/mem", "/dev/kmsg", "/dev/port",
        "/dev/console", "/dev/fuse", "/dev/kvm", "/dev/vda", "/dev/null", "/dev/ptmx", "/proc/1/mem",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) may_write(paths[i]);
    device("/disk", S_IFBLK, 254, 0);
    device("/dev/disk", S_IFBLK, 254, 0);
    device("/dev/shm/disk", S_IFBLK, 254, 0);
    device("/tmp/loop", S_IFBLK, 7, 0);
    device("/tmp/mem", S_IFCHR, 1, 1);
    device("/tmp/kmsg", S_IFCHR, 1, 11);
    device("/tmp/tty0", S_IFCHR, 4, 0);
    device("/tmp/fuse", S_IFCHR, 10, 229);
    device("/tmp/ptmx", S_IFCHR, 5, 2);
    device("/tmp/null", S_IFCHR, 1, 3);
    unsigned number = 99;
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    TRY("ptmx:number", ioctl(fd, TIOCGPTN, &number));
    printf("ptmx %u\n", number);
}

/* The classic way out of a chroot, which must end at the image's root. */
static void double_chroot(void) {
    mkdir("/tmp/jail", 0755);
    int out = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (chroot("/tmp/jail") != 0 || fchdir(out) != 0) return;
    for (int i = 0; i < 64; i++)
        if (chdir("..") != 0) return;
    if (chroot(".") != 0) return;
    printf("double-chroot %s\n", access("/probe", F_OK) == 0 ? "image" : "outside");
}

static void abstract(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(address.sun_path + 1, name, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TRY("abstract", connect(fd, (struct sockaddr *)&address,
                            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)));
}

int main(int count, char **arguments) {
    setvbuf(stdout, NULL, _IONBF, 0);
    if (count > 1 && strcmp(arguments[1], "user") == 0) {
        printf("user %d\n", (int)geteuid());
        return 0;
    }
    if (count > 2 && strcmp(arguments[1], "abstract") == 0) {
        abstract(arguments[2]);
        return 0;
    }
    if (count < 2) return 2;
    namespaces();
    kernel();
    rights();
    processes(atoi(arguments[1]));
    files();
    double_chroot();
    return 0;
}
