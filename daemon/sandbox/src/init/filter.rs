//! The seccomp filter of a `RUN`: a BPF program that refuses what reaches through to the host's kernel.
//!
//! This is a list of what is refused, with everything else allowed. It closes the calls of docker's
//! default profile that matter most (`seccomp(2)`, docker's `profiles/seccomp/default.json`): keyrings,
//! which no namespace separates; mounts and namespaces; `io_uring`, `bpf`, `perf_event_open`,
//! `userfaultfd`; file handles; modules, clocks, quotas, ports. Docker's profile refuses whatever it
//! does not list as well, and this one is a step towards it.
//!
//! `socketcall(2)` of 32-bit x86 has its arguments in memory, where no filter can look, and the C
//! libraries of that architecture need it: the families that are refused can be had that way.

use libc::sock_filter;

/// What system calls are made with; one processor can have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// 64-bit x86, and x32, whose calls have the same numbers with [`X32_BIT`] set.
    X86_64,
    I386,
    Aarch64,
    Arm,
}

/// The ways to make system calls on the processor this program is made for; none if there is no
/// table for it.
pub(crate) const NATIVE: &[Machine] = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
    &[Machine::X86_64, Machine::I386]
} else if cfg!(all(
    any(target_arch = "aarch64", target_arch = "arm"),
    target_endian = "little"
)) {
    &[Machine::Aarch64, Machine::Arm]
} else {
    &[]
};

/// `__X32_SYSCALL_BIT` of the kernel's `asm/unistd.h`.
const X32_BIT: u32 = 0x4000_0000;

/// All of `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID` and `NEWNET`.
const NAMESPACES: u32 = 0x7e02_0000;

/// Address families with a way around the network namespace (`AF_VSOCK`) or with much of the kernel
/// behind them (`AF_ALG`).
const REFUSED_FAMILIES: [u32; 2] = [40, 38];

/// The execution domains docker lets a process ask for (`personality(2)`): `PER_LINUX`,
/// `PER_LINUX32`, both with `UNAME26`, and the question which one it is.
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Where `struct seccomp_data` (`seccomp(2)`) has the number of the call.
const NUMBER: u32 = 0;
/// Where it has the `AUDIT_ARCH_*` value of the machine.
const ARCHITECTURE: u32 = 4;
/// Where it has the low half of the first argument. The kernel takes each argument that is looked at
/// here for 32 bits wide, so the high half must not change the answer.
const FIRST_ARGUMENT: u32 = 16;

/// A call that a machine does not have.
const NONE: u32 = u32::MAX;

/// The numbers of one call: x86_64, i386, aarch64, arm.
type Numbers = [u32; 4];

const CLONE: Numbers = [56, 120, 220, 120];
const CLONE3: Numbers = [435, 435, 435, 435];
const SOCKET: Numbers = [41, 359, 198, 281];
const PERSONALITY: Numbers = [135, 136, 92, 136];

/// Refused whatever the arguments are. The numbers are those of the kernel's tables
/// (`syscall_64.tbl`, `syscall_32.tbl`, `asm-generic/unistd.h`, arm's `syscall.tbl`).
const REFUSED: [(&str, Numbers); 53] = [
    ("acct", [163, 51, 89, 51]),
    ("add_key", [248, 286, 217, 309]),
    ("bpf", [321, 357, 280, 386]),
    ("clock_settime", [227, 264, 112, 262]),
    ("clock_settime64", [NONE, 404, NONE, 404]),
    ("create_module", [174, 127, NONE, NONE]),
    ("delete_module", [176, 129, 106, 129]),
    ("finit_module", [313, 350, 273, 379]),
    ("fsconfig", [431, 431, 431, 431]),
    ("fsmount", [432, 432, 432, 432]),
    ("fsopen", [430, 430, 430, 430]),
    ("fspick", [433, 433, 433, 433]),
    ("get_kernel_syms", [177, 130, NONE, NONE]),
    ("init_module", [175, 128, 105, 128]),
    ("io_uring_enter", [426, 426, 426, 426]),
    ("io_uring_register", [427, 427, 427, 427]),
    ("io_uring_setup", [425, 425, 425, 425]),
    ("ioperm", [173, 101, NONE, NONE]),
    ("iopl", [172, 110, NONE, NONE]),
    ("kcmp", [312, 349, 272, 378]),
    ("kexec_file_load", [320, NONE, 294, 401]),
    ("kexec_load", [246, 283, 104, 347]),
    ("kexec_load of x32", [528, NONE, NONE, NONE]),
    ("keyctl", [250, 288, 219, 311]),
    ("lookup_dcookie", [212, 253, 18, 249]),
    ("mount", [165, 21, 40, 21]),
    ("mount_setattr", [442, 442, 442, 442]),
    ("move_mount", [429, 429, 429, 429]),
    ("nfsservctl", [180, 169, 42, 169]),
    ("open_by_handle_at", [304, 342, 265, 371]),
    ("open_tree", [428, 428, 428, 428]),
    ("open_tree_attr", [467, 467, 467, 467]),
    ("perf_event_open", [298, 336, 241, 364]),
    ("pivot_root", [155, 217, 41, 218]),
    ("query_module", [178, 167, NONE, NONE]),
    ("quotactl", [179, 131, 60, 131]),
    ("quotactl_fd", [443, 443, 443, 443]),
    ("reboot", [169, 88, 142, 88]),
    ("request_key", [249, 287, 218, 310]),
    ("setns", [308, 346, 268, 375]),
    ("settimeofday", [164, 79, 170, 79]),
    ("stime", [NONE, 25, NONE, NONE]),
    ("swapoff", [168, 115, 225, 115]),
    ("swapon", [167, 87, 224, 87]),
    ("syslog", [103, 103, 116, 103]),
    ("umount", [NONE, 22, NONE, NONE]),
    ("umount2", [166, 52, 39, 52]),
    ("unshare", [272, 310, 97, 337]),
    ("uselib", [134, 86, NONE, 86]),
    ("userfaultfd", [323, 374, 282, 388]),
    ("ustat", [136, 62, NONE, 62]),
    ("vm86", [NONE, 166, NONE, NONE]),
    ("vm86old", [NONE, 113, NONE, NONE]),
];

impl Machine {
    /// `AUDIT_ARCH_*` of the kernel's `linux/audit.h`.
    const fn architecture(self) -> u32 {
        match self {
            Machine::X86_64 => 0xc000_003e,
            Machine::I386 => 0x4000_0003,
            Machine::Aarch64 => 0xc000_00b7,
            Machine::Arm => 0x4000_0028,
        }
    }

    /// The call's number here, if it has one.
    fn number(self, numbers: Numbers) -> Option<u32> {
        Some(numbers[self as usize]).filter(|number| *number != NONE)
    }
}

/// The program for these machines. On any other, every call is refused.
pub(crate) fn program(machines: &[Machine]) -> Vec<sock_filter> {
    let mut program = vec![load(ARCHITECTURE)];
    for machine in machines {
        let calls = calls(*machine);
        // A jump that depends on something reaches over 255 instructions only.
        program.push(jump(libc::BPF_JEQ, machine.architecture(), 1, 0));
        program.push(statement(libc::BPF_JMP | libc::BPF_JA, length(&calls)));
        program.extend(calls);
    }
    program.push(refuse(libc::EPERM));
    program
}

/// What is asked once the machine is known; always ends in an answer.
fn calls(machine: Machine) -> Vec<sock_filter> {
    let mut calls = vec![load(NUMBER)];
    if machine == Machine::X86_64 {
        calls.push(statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, !X32_BIT));
    }
    let mut answers: Vec<(u32, Vec<sock_filter>)> = REFUSED
        .into_iter()
        .map(|(_, numbers)| (numbers, vec![refuse(libc::EPERM)]))
        .chain(special_answers())
        .filter_map(|(numbers, answer)| Some((machine.number(numbers)?, answer)))
        .collect();
    answers.sort_by_key(|(number, _)| *number);
    calls.extend(search(&answers));
    calls
}

/// Answers that are not just a refusal, for the calls that have one.
fn special_answers() -> [(Numbers, Vec<sock_filter>); 4] {
    // The flags of clone3 are in memory, where no filter can look; C libraries then use clone, where
    // they are not.
    let clone3 = vec![refuse(libc::ENOSYS)];
    let clone = vec![
        load(FIRST_ARGUMENT),
        jump(libc::BPF_JSET, NAMESPACES, 0, 1),
        refuse(libc::EPERM),
        allow(),
    ];
    let mut socket = vec![load(FIRST_ARGUMENT)];
    for family in REFUSED_FAMILIES {
        socket.extend([jump(libc::BPF_JEQ, family, 0, 1), refuse(libc::EPERM)]);
    }
    socket.push(allow());
    let mut personality = vec![load(FIRST_ARGUMENT)];
    for domain in PERSONALITIES {
        personality.extend([jump(libc::BPF_JEQ, domain, 0, 1), allow()]);
    }
    personality.push(refuse(libc::EPERM));
    [
        (CLONE3, clone3),
        (CLONE, clone),
        (SOCKET, socket),
        (PERSONALITY, personality),
    ]
}

/// The answer for the number that is loaded, of answers sorted by number; a number that is not there
/// is allowed.
///
/// When a filter is loaded the kernel asks it about every number there is, so halving pays.
fn search(answers: &[(u32, Vec<sock_filter>)]) -> Vec<sock_filter> {
    /// So few are asked one after the other.
    const FEW: usize = 3;
    if answers.len() <= FEW {
        let mut instructions = Vec::new();
        for (number, answer) in answers {
            let over = u8::try_from(answer.len()).expect("each answer is a few instructions long");
            instructions.push(jump(libc::BPF_JEQ, *number, 0, over));
            instructions.extend_from_slice(answer);
        }
        instructions.push(allow());
        return instructions;
    }
    let (low, high) = answers.split_at(answers.len() / 2);
    let below = search(low);
    let mut instructions = vec![
        jump(libc::BPF_JGE, high[0].0, 0, 1),
        statement(libc::BPF_JMP | libc::BPF_JA, length(&below)),
    ];
    instructions.extend(below);
    instructions.extend(search(high));
    instructions
}

fn length(instructions: &[sock_filter]) -> u32 {
    u32::try_from(instructions.len()).expect("the tables above are short")
}

fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn allow() -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW)
}

fn refuse(errno: i32) -> sock_filter {
    statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ERRNO | errno.unsigned_abs(),
    )
}

/// Goes on after `yes` more instructions if the condition holds for the value that was loaded, else
/// after `no`.
fn jump(condition: u32, value: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter {
        jt: yes,
        jf: no,
        ..statement(libc::BPF_JMP | condition | libc::BPF_K, value)
    }
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).expect("the codes of classic BPF have 8 bits"),
        jt: 0,
        jf: 0,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::{CLONE, CLONE3, Machine, NATIVE, NONE, PERSONALITY, REFUSED, SOCKET, X32_BIT, program};
    use libc::sock_filter;

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
                // ld [k], and k, ja k, jeq k, jge k, jset k, ret k
                0x20 => {
                    value = match k {
                        0 => number,
                        4 => architecture,
                        16 => u32::try_from(argument & 0xffff_ffff).unwrap(),
                        other => panic!("loads {other}"),
                    }
                }
                0x54 => value &= k,
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

    #[test]
    fn listed_calls_are_refused_and_their_neighbours_are_not() {
        for machine in ALL {
            let special = [CLONE, CLONE3, SOCKET, PERSONALITY];
            let refused: Vec<u32> = REFUSED
                .iter()
                .filter_map(|(_, numbers)| machine.number(*numbers))
                .collect();
            for number in
                (0..1024).filter(|number| special.iter().all(|call| call[machine as usize] != *number))
            {
                let expected = if refused.contains(&number) {
                    EPERM
                } else {
                    Verdict::Allowed
                };
                assert_eq!(
                    verdict(machine, number, u64::MAX),
                    expected,
                    "{machine:?} {number}"
                );
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
            (X86_64, 272, "unshare"),
            (X86_64, X32_BIT | 528, "kexec_load of x32"),
            (X86_64, X32_BIT | 425, "io_uring_setup of x32"),
            (I386, 22, "umount"),
            (Aarch64, 40, "mount"),
            (Arm, 386, "bpf"),
        ];
        for (machine, number, name) in refused {
            assert_eq!(verdict(machine, number, 0), EPERM, "{machine:?} {name}");
        }
        let allowed = [
            (X86_64, 59, "execve"),
            (X86_64, X32_BIT | 520, "execve of x32"),
            (X86_64, 101, "ptrace"),
            (X86_64, 310, "process_vm_readv"),
            (X86_64, 303, "name_to_handle_at"),
            (X86_64, 161, "chroot"),
            (X86_64, 133, "mknod"),
            (X86_64, 105, "setuid"),
            (X86_64, 317, "seccomp"),
            (X86_64, u32::MAX, "a call that a tracer has taken away"),
            (I386, 11, "execve"),
            (I386, 102, "socketcall"),
            (Aarch64, 221, "execve"),
            (Aarch64, 117, "ptrace"),
            (Arm, 11, "execve"),
            (Arm, 0x000f_0005, "set_tls"),
        ];
        for (machine, number, name) in allowed {
            assert_eq!(
                verdict(machine, number, 0),
                Verdict::Allowed,
                "{machine:?} {name}"
            );
        }
    }

    #[test]
    fn arguments_decide() {
        const THREAD: u64 = 0x003d_0f00;
        for machine in ALL {
            let clone = CLONE[machine as usize];
            // As the C library makes threads and processes.
            for flags in [THREAD, 0x0120_0011, 0x4111, 17, 0] {
                assert_eq!(verdict(machine, clone, flags), Verdict::Allowed, "{flags:#x}");
            }
            for bit in [17, 25, 26, 27, 28, 29, 30] {
                for flags in [1_u64 << bit, 1 << bit | 17, 1 << bit | 0xffff_ffff_0000_0000] {
                    assert_eq!(verdict(machine, clone, flags), EPERM, "{flags:#x}");
                }
            }
            let clone3 = CLONE3[machine as usize];
            assert_eq!(verdict(machine, clone3, 0), Verdict::Refused(libc::ENOSYS));

            let socket = SOCKET[machine as usize];
            for family in 0..64 {
                let expected = if [38, 40].contains(&family) {
                    EPERM
                } else {
                    Verdict::Allowed
                };
                assert_eq!(verdict(machine, socket, family), expected, "{family}");
            }
            assert_eq!(verdict(machine, socket, 1 << 32 | 40), EPERM);

            let personality = PERSONALITY[machine as usize];
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

    /// The table against the C library's idea of the machine the tests run on.
    #[test]
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    fn numbers_are_the_systems() {
        let own = if cfg!(target_arch = "x86_64") { 0 } else { 2 };
        let known: [(&str, libc::c_long); 39] = [
            ("acct", libc::SYS_acct),
            ("add_key", libc::SYS_add_key),
            ("bpf", libc::SYS_bpf),
            ("clock_settime", libc::SYS_clock_settime),
            ("delete_module", libc::SYS_delete_module),
            ("finit_module", libc::SYS_finit_module),
            ("fsconfig", libc::SYS_fsconfig),
            ("fsmount", libc::SYS_fsmount),
            ("fsopen", libc::SYS_fsopen),
            ("fspick", libc::SYS_fspick),
            ("init_module", libc::SYS_init_module),
            ("io_uring_enter", libc::SYS_io_uring_enter),
            ("io_uring_register", libc::SYS_io_uring_register),
            ("io_uring_setup", libc::SYS_io_uring_setup),
            ("kcmp", libc::SYS_kcmp),
            ("kexec_file_load", libc::SYS_kexec_file_load),
            ("kexec_load", libc::SYS_kexec_load),
            ("keyctl", libc::SYS_keyctl),
            ("lookup_dcookie", libc::SYS_lookup_dcookie),
            ("mount", libc::SYS_mount),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("move_mount", libc::SYS_move_mount),
            ("nfsservctl", libc::SYS_nfsservctl),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("open_tree", libc::SYS_open_tree),
            ("perf_event_open", libc::SYS_perf_event_open),
            ("pivot_root", libc::SYS_pivot_root),
            ("quotactl", libc::SYS_quotactl),
            ("quotactl_fd", libc::SYS_quotactl_fd),
            ("reboot", libc::SYS_reboot),
            ("request_key", libc::SYS_request_key),
            ("setns", libc::SYS_setns),
            ("settimeofday", libc::SYS_settimeofday),
            ("swapoff", libc::SYS_swapoff),
            ("swapon", libc::SYS_swapon),
            ("syslog", libc::SYS_syslog),
            ("umount2", libc::SYS_umount2),
            ("unshare", libc::SYS_unshare),
            ("userfaultfd", libc::SYS_userfaultfd),
        ];
        for (name, number) in known {
            let (_, numbers) = REFUSED.iter().find(|(listed, _)| *listed == name).unwrap();
            assert_eq!(libc::c_long::from(numbers[own]), number, "{name}");
        }
        let special = [CLONE, CLONE3, SOCKET, PERSONALITY].map(|numbers| libc::c_long::from(numbers[own]));
        let systems = [
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_socket,
            libc::SYS_personality,
        ];
        assert_eq!(special, systems);
        assert!(
            REFUSED
                .iter()
                .all(|(_, numbers)| numbers.iter().any(|number| *number != NONE))
        );
    }
}
