//! Calls at random: numbers, handles, pointers, whatever.

use hostile::RANDOM_CALLS;
use rt::Error;
use rt::abi::call::{METHOD_SHIFT, name_words, pack_name};
use rt::abi::layout::{HEAP_BASE, IMAGE_BASE, PAGE, SSR_BASE, STACK_TOP};
use rt::abi::{Handle, KernelCall};
use victim::case::{KERNEL_DATA, KERNEL_TEXT};
use victim::harm::raw_call;

use crate::{Checked, ensure};

/// Lines of this file begin here.
const FILE: u32 = 4000;

/// Own memory that calls may fill: the heap. What lies behind it is not mapped.
const ARENA: u32 = HEAP_BASE;
/// Sessions that it keeps.
const SESSIONS: usize = 4;
/// Services that it binds to.
const NAMES: [&str; 4] = ["victim", "vault", "tally", "bare"];

/// George Marsaglia's xorshift generator of 32 bits (Journal of Statistical Software 8 (14), 2003).
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.next() % limit
    }

    /// A value of a kind that calls take: small, an address, or anything.
    fn value(&mut self) -> u32 {
        match self.below(8) {
            0 => self.next(),
            1 => u32::MAX - self.below(64),
            2 => ARENA + self.below(4 * PAGE),
            3 => {
                [IMAGE_BASE, SSR_BASE, STACK_TOP, KERNEL_TEXT, KERNEL_DATA, 0][self.below(6) as usize] + self.below(64)
            }
            4 => 1 << self.below(32),
            _ => self.below(64),
        }
    }
}

/// Makes calls at random. Those that end a program are left out, and `Wait`, which could wait for good; whatever
/// comes back is no surprise as long as it is an error that there is, or a result.
pub fn calls(seed: u32) -> Checked {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9) | 1);
    let mut sessions = [Handle { index: 0, generation: 0 }; SESSIONS];
    for _ in 0..RANDOM_CALLS {
        let mut registers = [0; 13];
        registers.iter_mut().for_each(|register| *register = random.value());
        let number = match random.below(16) {
            0 => KernelCall::Bind as u32,
            1..=3 => random.below(0x100),
            _ => KernelCall::Call as u32,
        };
        let ends = [KernelCall::Panic, KernelCall::Exit, KernelCall::HeapExhausted, KernelCall::Wait];
        if ends.iter().any(|call| *call as u32 == number) {
            continue;
        }
        registers[7] = number;
        let slot = random.below(SESSIONS as u32) as usize;
        if number == KernelCall::Bind as u32 && random.below(4) > 0 {
            let name = NAMES[random.below(NAMES.len() as u32) as usize];
            registers[..4].copy_from_slice(&name_words(&pack_name(name)));
        } else if number == KernelCall::Call as u32 {
            registers[7] |= random.below(16) << METHOD_SHIFT | random.below(4) << 24;
            if random.below(8) == 0 {
                registers[7] ^= random.next() << 8;
            }
            if random.below(8) > 0 {
                (registers[8], registers[9]) = (sessions[slot].index, sessions[slot].generation);
            }
        } else if number == KernelCall::Unbind as u32 && random.below(2) == 0 {
            (registers[0], registers[1]) = (sessions[slot].index, sessions[slot].generation);
        }
        let call = number == KernelCall::Call as u32;
        raw_call(&mut registers);
        ensure!(registers[0] == 0 || Error::from_code(registers[0]).is_some() || (call && registers[0] >= 0x100));
        if number == KernelCall::Bind as u32 && registers[0] == 0 {
            sessions[slot] = Handle { index: registers[1], generation: registers[2] };
        }
    }
    Ok(())
}
