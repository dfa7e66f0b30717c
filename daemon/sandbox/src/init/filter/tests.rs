//! The filter, asked as the kernel would ask it.

use libc::sock_filter;

use super::calls::{ALLOWED, CLONE, CLONE3, NONE, PERSONALITY, SOCKET};
use super::recorded::{self, Change};
use super::{Machine, NATIVE, X32_BIT, program};

const ALL: [Machine; 4] = [Machine::X86_64, Machine::I386, Machine::Aarch64, Machine::Arm];

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Refused(i32),
}

/// What the kernel would do: as much of classic BPF as it lets a seccomp filter use and this one
/// does use.
fn judge(program: &[sock_filter], architecture: u32, number: u32, argument: u64) -> Verdict {
    let (mut at, mut value) = (0, 0_u32);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let take = |condition: bool| usize::from(if condition { jt } else { jf });
        match code {
            // ld [k], ja k, jeq k, jge k, jset k, ret k
            0x20 => {
                value = match k {
                    0 => number,
                    4 => architecture,
                    16 => u32::try_from(argument & 0xffff_ffff).unwrap(),
                    other => panic!("loads {other}"),
                }
            }
            0x05 => at += k as usize,
            0x15 => at += take(value == k),
            0x35 => at += take(value >= k),
            0x45 => at += take(value & k != 0),
            0x06 if k == 0x7fff_0000 => return Verdict::Allowed,
            0x06 => {
                assert_eq!(k >> 16, 5, "neither allowed nor an error number");
                return Verdict::Refused(i32::from(k as u16));
            }
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn verdict(machine: Machine, number: u32, argument: u64) -> Verdict {
    judge(&program(&ALL), machine.architecture(), number, argument)
}

const EPERM: Verdict = Verdict::Refused(libc::EPERM);
const ENOSYS: Verdict = Verdict::Refused(libc::ENOSYS);

#[test]
fn listed_calls_are_allowed_and_their_neighbours_are_not() {
    let all = program(&ALL);
    for machine in ALL {
        for (column, base) in machine.columns() {
            let special = [CLONE, CLONE3, SOCKET, PERSONALITY].map(|numbers| numbers[*column]);
            let listed: Vec<u32> = ALLOWED.iter().map(|(_, numbers)| numbers[*column]).collect();
            // removexattrat; x32 has numbers of its own up to pwritev2
            let newest = if *base == X32_BIT { 547 } else { 466 };
            let numbers = (0..1024).chain(0xe_fff0..0xf_0010);
            for number in numbers.filter(|number| !special.contains(number)) {
                let expected = match number {
                    _ if listed.contains(&number) => Verdict::Allowed,
                    _ if number > newest && !(0xf_0002..0xf_0005).contains(&number) => ENOSYS,
                    _ => EPERM,
                };
                let seen = judge(&all, machine.architecture(), base + number, u64::MAX);
                // beside arm's own calls either will do: none is missed by a C library
                let either = number > 0xf_0000 && seen != Verdict::Allowed && expected != Verdict::Allowed;
                assert!(seen == expected || either, "{machine:?} {number} {seen:?}");
            }
        }
    }
}

/// Written out by hand: a table that the program is made of cannot show its own mistakes.
#[test]
fn known_calls() {
    use Machine::{Aarch64, Arm, I386, X86_64};
    let refused = [
        (X86_64, 250, "keyctl"),
        (X86_64, X32_BIT | 250, "keyctl of x32"),
        (I386, 288, "keyctl"),
        (Aarch64, 219, "keyctl"),
        (Arm, 311, "keyctl"),
        (X86_64, 248, "add_key"),
        (X86_64, 249, "request_key"),
        (X86_64, 165, "mount"),
        (I386, 21, "mount"),
        (Aarch64, 40, "mount"),
        (Arm, 21, "mount"),
        (X86_64, 166, "umount2"),
        (I386, 22, "umount"),
        (X86_64, 272, "unshare"),
        (I386, 310, "unshare"),
        (Aarch64, 97, "unshare"),
        (Arm, 337, "unshare"),
        (X86_64, 308, "setns"),
        (X86_64, 155, "pivot_root"),
        (X86_64, 321, "bpf"),
        (Arm, 386, "bpf"),
        (X86_64, 298, "perf_event_open"),
        (X86_64, 323, "userfaultfd"),
        (Aarch64, 282, "userfaultfd"),
        (X86_64, 304, "open_by_handle_at"),
        (Aarch64, 265, "open_by_handle_at"),
        (X86_64, 246, "kexec_load"),
        (X86_64, X32_BIT | 528, "kexec_load of x32"),
        (X86_64, 175, "init_module"),
        (X86_64, 313, "finit_module"),
        (X86_64, 169, "reboot"),
        (X86_64, 170, "sethostname"),
        (X86_64, 103, "syslog"),
        (X86_64, 227, "clock_settime"),
        (I386, 404, "clock_settime64"),
        (X86_64, 153, "vhangup"),
        (X86_64, 237, "mbind"),
        (X86_64, 256, "migrate_pages"),
        (X86_64, 279, "move_pages"),
        (X86_64, 300, "fanotify_init"),
        (X86_64, 312, "kcmp"),
        (X86_64, 438, "pidfd_getfd"),
        (X86_64, 440, "process_madvise"),
        (X86_64, 172, "iopl"),
        (X86_64, 139, "sysfs"),
        (X86_64, 136, "ustat"),
        (X86_64, 156, "_sysctl"),
        (I386, 166, "vm86"),
        (X86_64, 425, "io_uring_setup"),
        (X86_64, X32_BIT | 425, "io_uring_setup of x32"),
        (Aarch64, 427, "io_uring_register"),
        (X86_64, 428, "open_tree"),
        (X86_64, 430, "fsopen"),
        (Arm, 442, "mount_setattr"),
        (X86_64, 459, "lsm_get_self_attr"),
        // only the calls that x32 gives another number are missing there by their old one
        (X86_64, X32_BIT | 59, "execve by its number without x32"),
    ];
    for (machine, number, name) in refused {
        assert_eq!(verdict(machine, number, 0), EPERM, "{machine:?} {name}");
    }
    let allowed = [
        (X86_64, 0, "read"),
        (X86_64, X32_BIT, "read of x32"),
        (X86_64, 59, "execve"),
        (X86_64, X32_BIT | 520, "execve of x32"),
        (I386, 11, "execve"),
        (Aarch64, 221, "execve"),
        (Arm, 11, "execve"),
        (X86_64, 161, "chroot"),
        (I386, 61, "chroot"),
        (Aarch64, 51, "chroot"),
        (X86_64, 101, "ptrace"),
        (X86_64, X32_BIT | 521, "ptrace of x32"),
        (Aarch64, 117, "ptrace"),
        (X86_64, 310, "process_vm_readv"),
        (X86_64, 157, "prctl"),
        (X86_64, 158, "arch_prctl"),
        (X86_64, 154, "modify_ldt"),
        (I386, 123, "modify_ldt"),
        (I386, 102, "socketcall"),
        (I386, 117, "ipc"),
        (I386, 403, "clock_gettime64"),
        (Arm, 403, "clock_gettime64"),
        (Arm, 341, "arm_sync_file_range"),
        (Arm, 0xf_0002, "cacheflush"),
        (Arm, 0xf_0005, "set_tls"),
        (X86_64, 133, "mknod"),
        (X86_64, 303, "name_to_handle_at"),
        (X86_64, 317, "seccomp"),
        (X86_64, 332, "statx"),
        (Aarch64, 291, "statx"),
        (X86_64, 334, "rseq"),
        (X86_64, 436, "close_range"),
        (X86_64, 439, "faccessat2"),
        (X86_64, 452, "fchmodat2"),
        (X86_64, 466, "removexattrat"),
    ];
    for (machine, number, name) in allowed {
        assert_eq!(
            verdict(machine, number, 0),
            Verdict::Allowed,
            "{machine:?} {name}"
        );
    }
    let unknown = [
        (X86_64, 467),
        (X86_64, 600),
        (X86_64, 0x3fff_ffff),
        (X86_64, X32_BIT | 548),
        (X86_64, u32::MAX),
        (I386, 467),
        (Aarch64, 467),
        (Arm, 467),
        (Arm, 0xf_0006),
    ];
    for (machine, number) in unknown {
        assert_eq!(verdict(machine, number, 0), ENOSYS, "{machine:?} {number}");
    }
}

/// Every number against the filter that Debian's dockerd loads; what differs is written down there.
#[test]
fn answers_are_those_of_debians_docker() {
    let tables = [
        (Machine::X86_64, 0, recorded::X86_64),
        (Machine::X86_64, X32_BIT, recorded::X32),
        (Machine::I386, 0, recorded::I386),
    ];
    let all = program(&ALL);
    for (column, (machine, base, table)) in tables.into_iter().enumerate() {
        for number in 0..700 {
            let (_, theirs) = table.iter().rev().find(|(from, _)| *from <= number).unwrap();
            let ours = match judge(&all, machine.architecture(), base + number, 0) {
                Verdict::Allowed => 0,
                Verdict::Refused(errno) => errno,
            };
            let change = recorded::CHANGES
                .iter()
                .find(|(numbers, _)| number != 0 && numbers[column] == number)
                .map(|(_, change)| *change);
            let expected = match change {
                None => ours == *theirs,
                Some(Change::Allowed) => (*theirs, ours) == (libc::EPERM, 0),
                Some(Change::Refused) => (*theirs, ours) == (0, libc::EPERM),
                Some(Change::Newer) => *theirs != 0 && *theirs != ours,
            };
            assert!(expected, "{machine:?} {number}: {theirs} {ours} {change:?}");
        }
    }
}

#[test]
fn arguments_decide() {
    const THREAD: u64 = 0x003d_0f00;
    for machine in ALL {
        let column = machine.columns()[0].0;
        let clone = CLONE[column];
        // As the C library makes threads and processes.
        for flags in [THREAD, 0x0120_0011, 0x4111, 17, 0] {
            assert_eq!(verdict(machine, clone, flags), Verdict::Allowed, "{flags:#x}");
        }
        for bit in [17, 25, 26, 27, 28, 29, 30] {
            for flags in [1_u64 << bit, 1 << bit | 17, 1 << bit | 0xffff_ffff_0000_0000] {
                assert_eq!(verdict(machine, clone, flags), EPERM, "{flags:#x}");
            }
        }
        let clone3 = CLONE3[column];
        assert_eq!(verdict(machine, clone3, 0), Verdict::Refused(libc::ENOSYS));

        let socket = SOCKET[column];
        for family in 0..64 {
            let expected = if [38, 40].contains(&family) {
                EPERM
            } else {
                Verdict::Allowed
            };
            assert_eq!(verdict(machine, socket, family), expected, "{family}");
        }
        assert_eq!(verdict(machine, socket, 1 << 32 | 40), EPERM);

        let personality = PERSONALITY[column];
        for domain in [0, 8, 0x20000, 0x20008, 0xffff_ffff, u64::MAX] {
            assert_eq!(
                verdict(machine, personality, domain),
                Verdict::Allowed,
                "{domain:#x}"
            );
        }
        // ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC
        for domain in [0x0004_0000, 0x0040_0000, 1, 9] {
            assert_eq!(verdict(machine, personality, domain), EPERM, "{domain:#x}");
        }
    }
    for number in [X32_BIT | 56, 56] {
        assert_eq!(verdict(Machine::X86_64, number, 0x1000_0000), EPERM);
    }
}

#[test]
fn unknown_machines_may_nothing() {
    // s390x, 64-bit RISC-V, none
    for architecture in [0x8000_0016, 0xc000_00f3, 0] {
        for number in [0, 1, 59, 221] {
            assert_eq!(judge(&program(&ALL), architecture, number, 0), EPERM);
        }
    }
    let x86 = program(&[Machine::X86_64, Machine::I386]);
    assert_eq!(judge(&x86, Machine::Aarch64.architecture(), 221, 0), EPERM);
    assert_eq!(
        judge(&x86, Machine::X86_64.architecture(), 59, 0),
        Verdict::Allowed
    );
}

/// The kernel's rules for a program (`BPF_MAXINSNS` and jumps forward, inside of it).
#[test]
fn programs_are_well_formed() {
    for machines in [&ALL[..], NATIVE] {
        let program = program(machines);
        assert!(program.len() <= 4096);
        for (at, instruction) in program.iter().enumerate() {
            let furthest = match instruction.code {
                0x05 => instruction.k as usize,
                0x15 | 0x35 | 0x45 => usize::from(instruction.jt.max(instruction.jf)),
                0x06 => continue,
                _ => 0,
            };
            assert!(at + 1 + furthest < program.len(), "{at}");
        }
    }
}

/// No number stands for two calls, and those of all machines are the same where the kernel numbers them so: from 424 on.
#[test]
fn numbers_are_each_for_one_call() {
    for column in 0..5 {
        let special = [CLONE, CLONE3, SOCKET, PERSONALITY].map(|numbers| ("", numbers));
        let mut numbers: Vec<u32> = ALLOWED
            .iter()
            .chain(&special)
            .map(|(_, numbers)| numbers[column])
            .collect();
        numbers.retain(|number| *number != NONE);
        numbers.sort_unstable();
        let doubled: Vec<u32> = numbers
            .windows(2)
            .filter(|two| two[0] == two[1])
            .map(|two| two[0])
            .collect();
        // arm_sync_file_range and sync_file_range2 are the same call
        assert_eq!(doubled, if column == 4 { vec![341] } else { vec![] }, "{column}");
    }
    for (name, numbers) in ALLOWED {
        let known: Vec<u32> = numbers.into_iter().filter(|number| *number != NONE).collect();
        assert!(!known.is_empty(), "{name}");
        if (424..512).contains(&known[0]) {
            assert!(
                known.iter().all(|number| *number == known[0]),
                "{name} {numbers:?}"
            );
        }
    }
    assert!(ALLOWED.is_sorted_by_key(|(name, _)| *name));
}

/// Names and numbers of the C library's own constants.
macro_rules! system {
    ($($name:ident)*) => {
        [$((stringify!($name), libc::$name)),*]
    };
}

/// The table against the C library's idea of the machine the tests run on.
#[test]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn numbers_are_the_systems() {
    let column = NATIVE[0].columns()[0].0;
    let check = |name: &str, number: libc::c_long| {
        let name = name.trim_start_matches("SYS_");
        let (_, numbers) = ALLOWED.iter().find(|(listed, _)| *listed == name).unwrap();
        assert_eq!(libc::c_long::from(numbers[column]), number, "{name}");
    };
    for (name, number) in system! {
        SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir
        SYS_chroot SYS_clock_adjtime SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep
        SYS_close SYS_close_range SYS_connect SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1
        SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_execve SYS_execveat SYS_exit
        SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64 SYS_fallocate SYS_fanotify_mark
        SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl SYS_fdatasync
        SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs
        SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_get_robust_list SYS_getcpu SYS_getcwd
        SYS_getdents64 SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer
        SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrandom
        SYS_getresgid SYS_getresuid SYS_getrusage SYS_getsid SYS_getsockname SYS_getsockopt
        SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch SYS_inotify_init1
        SYS_inotify_rm_watch SYS_io_cancel SYS_io_destroy SYS_io_getevents SYS_io_setup
        SYS_io_submit SYS_ioctl SYS_ioprio_get SYS_ioprio_set SYS_kill SYS_landlock_add_rule
        SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen
        SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise
        SYS_membarrier SYS_memfd_create SYS_memfd_secret SYS_mincore SYS_mkdirat SYS_mknodat
        SYS_mlock SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect SYS_mq_getsetattr SYS_mq_notify
        SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap SYS_mseal
        SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap
        SYS_name_to_handle_at SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_open
        SYS_pidfd_send_signal SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll
        SYS_prctl SYS_pread64 SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease
        SYS_process_vm_readv SYS_process_vm_writev SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev
        SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg
        SYS_recvmsg SYS_remap_file_pages SYS_removexattr SYS_renameat2 SYS_restart_syscall SYS_rseq
        SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn
        SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sched_get_priority_max
        SYS_sched_get_priority_min SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam
        SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr
        SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl SYS_semget
        SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto
        SYS_set_robust_list SYS_set_tid_address SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups
        SYS_setitimer SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid SYS_setresuid
        SYS_setreuid SYS_setsid SYS_setsockopt SYS_setuid SYS_setxattr SYS_shmat SYS_shmctl
        SYS_shmdt SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4 SYS_socketpair SYS_splice
        SYS_statfs SYS_statx SYS_symlinkat SYS_sync SYS_syncfs SYS_sysinfo SYS_tee SYS_tgkill
        SYS_timer_create SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime
        SYS_timerfd_create SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate
        SYS_umask SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice SYS_wait4 SYS_waitid SYS_write
        SYS_writev
    } {
        check(name, number);
    }
    #[cfg(target_arch = "x86_64")]
    for (name, number) in system! {
        SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create
        SYS_epoll_ctl_old SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fchmodat2 SYS_fork
        SYS_futimesat SYS_get_thread_area SYS_getdents SYS_getpgrp SYS_getrlimit SYS_inotify_init
        SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_modify_ldt SYS_open SYS_pause SYS_pipe
        SYS_poll SYS_readlink SYS_rename SYS_renameat SYS_rmdir SYS_select SYS_set_thread_area
        SYS_setrlimit SYS_signalfd SYS_stat SYS_symlink SYS_sync_file_range SYS_time SYS_unlink
        SYS_utime SYS_utimes SYS_vfork
    } {
        check(name, number);
    }
    let special = [CLONE, CLONE3, SOCKET, PERSONALITY].map(|numbers| libc::c_long::from(numbers[column]));
    let systems = [
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_socket,
        libc::SYS_personality,
    ];
    assert_eq!(special, systems);
}

/// All columns but arm's against the kernel's headers, where a C compiler has brought those.
#[test]
fn numbers_are_the_headers() {
    const X86: &str = "/usr/include/x86_64-linux-gnu/asm";
    let headers = [
        (0, format!("{X86}/unistd_64.h")),
        (1, format!("{X86}/unistd_x32.h")),
        (2, format!("{X86}/unistd_32.h")),
        (3, "/usr/include/asm-generic/unistd.h".to_owned()),
    ];
    for (column, path) in headers {
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        let mut found = 0;
        for line in text.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let ["#define", name, .., number] = words[..] else {
                continue;
            };
            let name = name.trim_start_matches("__NR_").trim_start_matches("__NR3264_");
            let Some((_, numbers)) = ALLOWED.iter().find(|(listed, _)| *listed == name) else {
                continue;
            };
            // 32-bit machines of the generic table have these
            let other = column == 3 && numbers[3] == NONE;
            if let Ok(number) = number.trim_end_matches(')').parse::<u32>()
                && !other
            {
                assert_eq!(numbers[column], number, "{name} in column {column}");
                found += 1;
            }
        }
        assert!(found > 200, "column {column}: {found}");
    }
}
