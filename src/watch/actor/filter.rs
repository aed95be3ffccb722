//! Which messages of the kernel go to which socket: classic BPF programs, which the
//! kernel runs over a message before it is queued, and before anybody is woken.
//!
//! A program that is executed has to be looked at once, on its processor; all else
//! waits in a socket that nobody sleeps on. Pure: numbers in, instructions out.

use libc::sock_filter;

use super::message::{EVENT_HEAD, EXEC, EXIT, FORK, GID, HEADERS, NONE, UID};

/// One of so many messages that nobody is to be woken for wakes somebody all the same:
/// who forks and never executes must not fill the kernel's memory.
const BELL: u32 = 256;

// Where things are in a message, in bytes.
const WHAT: u32 = HEADERS as u32;
const CPU: u32 = WHAT + 4;
const DATA: u32 = WHAT + EVENT_HEAD as u32;

/// The processors whose programs one socket tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cpus {
    /// This one.
    One(u32),
    /// Those of no other socket.
    AllBut(Vec<u32>),
}

/// Programs executed on these processors, and the bell.
pub(super) fn executed(cpus: &Cpus) -> Vec<sock_filter> {
    use Op::{And, Equal, Load, Random};
    let mut ops = vec![
        Load(WHAT),
        Equal(NONE, To::Accept, To::Next),
        Equal(EXEC, To::At(6), To::Next),
        Random,
        And(BELL - 1),
        Equal(0, To::Next, To::Drop),
        Load(CPU),
    ];
    match cpus {
        Cpus::One(cpu) => ops.push(Equal(*cpu, To::Accept, To::Drop)),
        Cpus::AllBut(others) => {
            ops.extend(others.iter().map(|cpu| Equal(*cpu, To::Drop, To::Next)));
            ops.push(Equal(u32::MAX, To::Accept, To::Accept));
        }
    }
    assemble(&ops)
}

/// All else that happens to processes; threads are not told.
pub(super) fn happened() -> Vec<sock_filter> {
    use Op::{Equal, EqualX, Load, Tax};
    assemble(&[
        Load(WHAT),
        Equal(NONE, To::Accept, To::Next),
        Equal(FORK, To::At(6), To::Next),
        Equal(UID, To::At(10), To::Next),
        Equal(GID, To::At(10), To::Next),
        Equal(EXIT, To::At(10), To::Drop),
        // FORK: parent, its process, child, its process.
        Load(DATA + 8),
        Tax,
        Load(DATA + 12),
        EqualX(To::Accept, To::Drop),
        // The others: thread, process.
        Load(DATA),
        Tax,
        Load(DATA + 4),
        EqualX(To::Accept, To::Drop),
    ])
}

/// An instruction; what is loaded is a word as the machine has it.
#[derive(Clone, Copy)]
enum Op {
    Load(u32),
    Random,
    And(u32),
    Tax,
    Equal(u32, To, To),
    EqualX(To, To),
}

/// Where it goes on.
#[derive(Clone, Copy)]
enum To {
    Next,
    At(usize),
    Accept,
    Drop,
}

fn assemble(ops: &[Op]) -> Vec<sock_filter> {
    let mut program: Vec<_> = (0..).zip(ops).map(|(at, op)| op.at(at, ops)).collect();
    program.push(plain(libc::BPF_RET | libc::BPF_K, u32::MAX));
    program.push(plain(libc::BPF_RET | libc::BPF_K, 0));
    program
}

impl Op {
    fn at(self, at: usize, ops: &[Op]) -> sock_filter {
        let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();
        let equal = libc::BPF_JMP | libc::BPF_JEQ;
        let jump = |code, k, then: To, other: To| sock_filter {
            jt: then.from(at, ops),
            jf: other.from(at, ops),
            ..plain(code, k)
        };
        match self {
            Op::Load(offset) => plain(load, offset),
            Op::Random => plain(load, random),
            Op::And(mask) => plain(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask),
            Op::Tax => plain(libc::BPF_MISC | libc::BPF_TAX, 0),
            // Loads turn the bytes to those of the network.
            Op::Equal(k, then, other) => jump(equal | libc::BPF_K, k.to_be(), then, other),
            Op::EqualX(then, other) => jump(equal | libc::BPF_X, 0, then, other),
        }
    }
}

impl To {
    /// Instructions to be passed over; both answers stand at the end.
    fn from(self, at: usize, ops: &[Op]) -> u8 {
        let to = match self {
            To::Next => at + 1,
            To::At(to) => to,
            To::Accept => ops.len(),
            To::Drop => ops.len() + 1,
        };
        u8::try_from(to - at - 1).unwrap_or(u8::MAX)
    }
}

fn plain(code: u32, k: u32) -> sock_filter {
    let code = code as u16;
    let (jt, jf) = (0, 0);
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel runs it; `random` is what its random number is.
    fn run(program: &[sock_filter], bytes: &[u8], random: u32) -> bool {
        let (mut a, mut x, mut at) = (0u32, 0u32, 0usize);
        loop {
            let op = program[at];
            at += 1;
            let jump = |is: bool| usize::from(if is { op.jt } else { op.jf });
            match u32::from(op.code) {
                0x20 if op.k > 0xffff => a = random,
                0x20 => {
                    let word = bytes[op.k as usize..][..4].try_into().unwrap();
                    a = u32::from_be_bytes(word);
                }
                0x54 => a &= op.k,
                0x07 => x = a,
                0x15 => at += jump(a == op.k),
                0x1d => at += jump(a == x),
                0x06 => return op.k > 0,
                code => panic!("{code:#x}"),
            }
        }
    }

    fn message(what: u32, cpu: u32, fields: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; HEADERS];
        for word in [what, cpu, 0, 0].iter().chain(fields).chain(&[0; 8]) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn each_program_is_told_to_one_socket() {
        let sockets = [
            Cpus::AllBut(vec![1, 2, 700]),
            Cpus::One(1),
            Cpus::One(2),
            Cpus::One(700),
        ];
        for (cpu, socket) in [(0, 0), (1, 1), (2, 2), (3, 0), (700, 3), (u32::MAX, 0)] {
            let told = |what: u32, random: u32| {
                let bytes = message(what, cpu, &[9, 9]);
                let is = |cpus: &&Cpus| run(&executed(cpus), &bytes, random);
                sockets.iter().filter(is).cloned().collect::<Vec<_>>()
            };
            assert_eq!(told(EXEC, 7), [sockets[socket].clone()], "{cpu}");
            assert_eq!(told(FORK, 512), [sockets[socket].clone()], "the bell");
            assert_eq!(told(FORK, 511), []);
            assert_eq!(told(NONE, 7).len(), sockets.len(), "an answer");
        }
        assert!(run(
            &executed(&Cpus::AllBut(vec![])),
            &message(EXEC, 5, &[]),
            1
        ));
    }

    #[test]
    fn threads_are_left_in_the_kernel() {
        let told = |what, fields: &[u32]| run(&happened(), &message(what, 3, fields), 0);
        assert!(told(FORK, &[6, 5, 9, 9]));
        assert!(!told(FORK, &[5, 5, 9, 5]));
        for what in [UID, GID, EXIT] {
            assert!(told(what, &[9, 9, 1, 1]));
            assert!(!told(what, &[10, 9, 1, 1]));
        }
        assert!(told(NONE, &[0]));
        assert!(!told(EXEC, &[9, 9]));
        assert!(!told(0x200, &[9, 9]));
    }
}
