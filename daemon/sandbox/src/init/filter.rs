//! The seccomp filter of a `RUN`: a BPF program that allows what docker's default profile allows.
//!
//! What is not listed is refused with `EPERM`, as there: keyrings, which no namespace separates; mounts
//! and namespaces; `io_uring`, `bpf`, `perf_event_open`, `userfaultfd`; file handles; modules, clocks,
//! quotas, ports; memory policies. What docker allows to those who have a capability is decided here for
//! the 14 that a `RUN` has. Calls newer than the list are answered with `ENOSYS`, as docker's runtime
//! does: C libraries fall back to an older call at that, and at `EPERM` they give up.
//!
//! `socketcall(2)` of 32-bit x86 has its arguments in memory, where no filter can look, and the C
//! libraries of that architecture need it: the families that are refused can be had that way, with
//! docker too.

mod calls;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use libc::sock_filter;

use calls::{ALLOWED, CLONE, CLONE3, NONE, Numbers, PERSONALITY, SOCKET};

/// What system calls are made with; one processor can have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    /// 64-bit x86, and x32, whose numbers have [`X32_BIT`] set.
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

/// Numbers below this are the kernel's ordinary calls; arm has calls of its own far above it.
const ORDINARY: u32 = 0x1000;

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

    /// Its columns of the table, each with what is added to the numbers in it, from low to high.
    const fn columns(self) -> &'static [(usize, u32)] {
        match self {
            Machine::X86_64 => &[(0, 0), (1, X32_BIT)],
            Machine::I386 => &[(2, 0)],
            Machine::Aarch64 => &[(3, 0)],
            Machine::Arm => &[(4, 0)],
        }
    }
}

/// What is said to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allow,
    Refuse(i32),
    Clone,
    Socket,
    Personality,
}

/// The program for these machines. On any other, every call is refused.
pub(crate) fn program(machines: &[Machine]) -> Vec<sock_filter> {
    let mut program = vec![load(ARCHITECTURE)];
    for machine in machines {
        let mut calls = vec![load(NUMBER)];
        calls.extend(search(&ranges(*machine)));
        // A jump that depends on something reaches over 255 instructions only.
        program.push(jump(libc::BPF_JEQ, machine.architecture(), 1, 0));
        program.push(statement(libc::BPF_JMP | libc::BPF_JA, length(&calls)));
        program.extend(calls);
    }
    program.push(refuse(libc::EPERM));
    program
}

/// The answers of a machine for all numbers there are: each holds from its number to the next one's.
fn ranges(machine: Machine) -> Vec<(u32, Answer)> {
    let mut ranges = Vec::new();
    for (column, base) in machine.columns() {
        let listed = answers(*column);
        let newest = listed.keys().filter(|number| **number < ORDINARY).max();
        let newest = newest.copied().unwrap_or_default();
        let mut next = 0;
        for (number, answer) in listed {
            if number > next {
                let missing = if next > newest { libc::ENOSYS } else { libc::EPERM };
                ranges.push((base + next, Answer::Refuse(missing)));
            }
            ranges.push((base + number, answer));
            next = number + 1;
        }
        ranges.push((base + next, Answer::Refuse(libc::ENOSYS)));
    }
    ranges.dedup_by_key(|(_, answer)| *answer);
    ranges
}

/// What is said to the calls of a column that are not just unknown.
fn answers(column: usize) -> BTreeMap<u32, Answer> {
    let special: [(Numbers, Answer); 4] = [
        (CLONE, Answer::Clone),
        // The flags of clone3 are in memory, where no filter can look; C libraries then use clone,
        // where they are not.
        (CLONE3, Answer::Refuse(libc::ENOSYS)),
        (PERSONALITY, Answer::Personality),
        (SOCKET, Answer::Socket),
    ];
    let allowed = ALLOWED.iter().map(|(_, numbers)| (*numbers, Answer::Allow));
    allowed
        .chain(special)
        .map(|(numbers, answer)| (numbers[column], answer))
        .filter(|(number, _)| *number != NONE)
        .collect()
}

/// Finds the answer for the number that is loaded by halving: when a filter is loaded the kernel asks it
/// about every number there is, and afterwards about those that it does not allow whatever the arguments.
fn search(ranges: &[(u32, Answer)]) -> Vec<sock_filter> {
    match ranges {
        [] => vec![refuse(libc::EPERM)],
        [(_, answer)] => answer.instructions(),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let below = search(low);
            let above = search(high);
            let from = high.first().map_or(0, |(number, _)| *number);
            let mut instructions = match u8::try_from(below.len()) {
                Ok(over) => vec![jump(libc::BPF_JGE, from, over, 0)],
                Err(_) => vec![
                    jump(libc::BPF_JGE, from, 0, 1),
                    statement(libc::BPF_JMP | libc::BPF_JA, length(&below)),
                ],
            };
            instructions.extend(below);
            instructions.extend(above);
            instructions
        }
    }
}

impl Answer {
    /// Its end of the program.
    fn instructions(self) -> Vec<sock_filter> {
        match self {
            Answer::Allow => vec![allow()],
            Answer::Refuse(errno) => vec![refuse(errno)],
            Answer::Clone => vec![
                load(FIRST_ARGUMENT),
                jump(libc::BPF_JSET, NAMESPACES, 0, 1),
                refuse(libc::EPERM),
                allow(),
            ],
            Answer::Socket => one_of(&REFUSED_FAMILIES, refuse(libc::EPERM), allow()),
            Answer::Personality => one_of(&PERSONALITIES, allow(), refuse(libc::EPERM)),
        }
    }
}

/// One answer if the first argument is one of the values, else the other.
fn one_of(values: &[u32], answer: sock_filter, other: sock_filter) -> Vec<sock_filter> {
    let mut instructions = vec![load(FIRST_ARGUMENT)];
    for value in values {
        instructions.extend([jump(libc::BPF_JEQ, *value, 0, 1), answer]);
    }
    instructions.push(other);
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
