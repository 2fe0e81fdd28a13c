//! Breaking the rules in earnest: what the kernel detects shall be the real thing.
//!
//! This is the second module of the services whose `unsafe` has harm as its purpose (the first is `rt`'s sabotage).
//! What makes it bearable is not an invariant of the code but the system under test: the MMU and the kernel contain the
//! harm in the domain that does it, and that domain is rebuilt or ended before it runs again. If they do
//! not, a test fails; nothing but the tests uses this.

use crate::attack::words;

words! {
    /// Something that must have no effect, or be refused, without being a failure. Takes two arguments.
    Probe {
        /// A privileged instruction that user mode ignores, by its number in [`crate::case::IGNORED`]; returns the CPSR.
        Ignored,
        /// Makes a kernel call in big-endian state; returns r0, and bit 31 if the state was lost.
        BigEndian,
        /// Asks the emulator to exit through semihosting; returns r0.
        Semihosting,
        /// Makes a kernel call in Thumb state; returns r0.
        Thumb,
        /// Makes a kernel call with the first argument as stack pointer; returns r0.
        WildStack,
        /// Sets the thread register (TPIDRURW) to the first argument; returns what was in it.
        ThreadRegister,
        /// Calls method 0 through the handle (index, generation); returns r0.
        CallHandle,
        /// Ends the session behind the handle (index, generation); returns r0.
        Unbind,
        /// Binds to the service with this number in [`crate::case::NAMES`]; returns r0.
        Bind,
        /// The copying call with this number, four bytes, with nothing lent; returns r0.
        CopyUnlent,
        /// Tries to reserve so many bytes of heap; returns 1 if that was refused.
        Reserve,
        /// Counts in initialised and in zeroed data; returns the sum of both, [`crate::case::BUILT`] at first.
        Private,
    }
}

#[cfg(target_os = "none")]
pub use target::{copy, load, probe, raw_call, strike, strike_instruction};

/// On the host there is nothing to harm.
#[cfg(not(target_os = "none"))]
pub fn strike(attack: crate::Attack, _: u32) {
    panic!("there is no kernel on the host to contain {attack:?}");
}

/// On the host there is no kernel to ask.
#[cfg(not(target_os = "none"))]
pub fn probe(probe: Probe, _: u32, _: u32) -> u32 {
    panic!("there is no kernel on the host to withstand {probe:?}");
}

/// On the host there is no kernel to ask.
#[cfg(not(target_os = "none"))]
pub fn copy(copy: &crate::case::Copy) -> u32 {
    panic!("there is no kernel on the host to refuse {}", copy.name);
}

#[cfg(target_os = "none")]
#[allow(unsafe_code)] // see the module's first lines
mod target {
    use alloc::vec::Vec;
    use core::arch::{asm, naked_asm};
    use core::hint::black_box;
    use core::sync::atomic::{AtomicU32, Ordering};

    use rt::abi::KernelCall;
    use rt::abi::call::{name_words, pack_name};
    use rt::abi::layout::{COMMON_BASE, PAGE, SSR_BASE, STACK_TOP};

    use super::Probe;
    use crate::case::{self, Copy, OWN};
    use crate::instructions;
    use crate::{Attack, STACK};

    pub use crate::instructions::strike_instruction;

    /// `bx lr`.
    const RETURN: u32 = 0xe12f_ff1e;

    /// Does wrong. Returns only for what is not detected at once.
    pub fn strike(attack: Attack, argument: u32) {
        match attack {
            Attack::None | Attack::Spoil | Attack::Refuse | Attack::AskFlush | Attack::CallForever | Attack::Tell => {}
            Attack::Load => {
                black_box(load(argument));
            }
            Attack::Store => store(argument, u32::MAX),
            Attack::Execute => jump(argument),
            Attack::StoreOwn => store_own(argument),
            Attack::ExecuteOwn => execute_own(argument),
            Attack::Unaligned => instructions::unaligned(argument),
            Attack::Instruction => strike_instruction(argument),
            Attack::StoreAsIfPrivileged => {
                instructions::ignored(0);
                store(argument, u32::MAX);
            }
            Attack::Breakpoint => {
                // SAFETY: a prefetch abort with the status of a debug event.
                unsafe { asm!("bkpt #0") }
            }
            Attack::Call => {
                raw_call(&mut [0, 0, 0, 0, 0, 0, 0, argument, 0, 0, 0, 0, 0]);
            }
            Attack::Panic => panic!("asked to"),
            Attack::PanicAt => {
                raw_call(&mut [argument, u32::MAX, 0, 0, 0, 0, 0, KernelCall::Panic as u32, 0, 0, 0, 0, 0]);
            }
            Attack::ExhaustHeap => loop {
                core::mem::forget(black_box(Vec::<u8>::with_capacity(1024)));
            },
            Attack::Recurse => {
                black_box(recurse(0));
            }
            Attack::PushAt => {
                // SAFETY: the store is the harm; should it be allowed, the stack pointer is put right again.
                unsafe {
                    asm!("mov r4, sp", "mov sp, r0", "push {{r0}}", "mov sp, r4", in("r0") argument, out("r4") _);
                }
            }
            Attack::Spin => spin(argument),
            Attack::Magic => store(SSR_BASE, argument),
            Attack::Used => store(SSR_BASE + 4, argument),
            Attack::Session => store(SSR_BASE + 8, argument),
            Attack::Tag => store(SSR_BASE + 12, argument),
            Attack::WritePages => {
                for page in 0..argument {
                    store(COMMON_BASE + page * PAGE, load(COMMON_BASE + page * PAGE));
                }
            }
            Attack::Work => work(argument),
            Attack::Wait => {
                // What it cannot wait, it does not.
                let _ = rt::sys::pause(argument);
            }
            Attack::WorkThenPanic => {
                work(argument);
                panic!("asked to, after {argument} rounds of work");
            }
        }
    }

    /// The word at an address.
    pub fn load(address: u32) -> u32 {
        let value;
        // SAFETY: the load is the harm, or own memory.
        unsafe { asm!("ldr {0}, [{1}]", out(reg) value, in(reg) address) }
        value
    }

    fn store(address: u32, value: u32) {
        // SAFETY: the store is the harm, or it goes to memory that is not the compiler's: SSR header, common region.
        unsafe { asm!("str {0}, [{1}]", in(reg) value, in(reg) address) }
    }

    fn jump(address: u32) {
        // SAFETY: the jump is the harm. Should it come back, all that a function may change is declared as changed.
        unsafe {
            asm!("blx r0", inout("r0") address => _, out("r1") _, out("r2") _, out("r3") _, out("r12") _, out("lr") _)
        }
    }

    fn store_own(place: u32) {
        static CONSTANT: u32 = RETURN;
        match place {
            0 => store(strike as *const () as u32, u32::MAX),
            _ => store((&raw const CONSTANT).addr() as u32, u32::MAX),
        }
    }

    fn execute_own(place: u32) {
        static DATA: AtomicU32 = AtomicU32::new(RETURN);
        static CONSTANT: u32 = RETURN;
        let local = AtomicU32::new(RETURN);
        let heap = Vec::from([RETURN]);
        let address = match place {
            0 => DATA.as_ptr().addr() as u32,
            1 => black_box(heap.as_ptr()).addr() as u32,
            2 => black_box(local.as_ptr()).addr() as u32,
            3 | 4 => {
                // Past what is in use of either region.
                let address = if place == 3 { SSR_BASE + PAGE / 2 } else { COMMON_BASE + PAGE / 2 };
                store(address, RETURN);
                address
            }
            _ => (&raw const CONSTANT).addr() as u32,
        };
        DATA.store(RETURN, Ordering::Relaxed);
        jump(address);
    }

    #[inline(never)]
    fn recurse(depth: u32) -> u32 {
        let frame = black_box([depth; 32]);
        if black_box(false) {
            return 0;
        }
        recurse(depth + 1) + black_box(frame)[depth as usize % 32]
    }

    fn work(rounds: u32) {
        for round in 0..rounds {
            black_box(round);
        }
    }

    fn spin(how: u32) {
        let mut call = [0; 13];
        call[7] = if how == 2 { KernelCall::CopyIn } else { KernelCall::Null } as u32;
        call[1] = OWN;
        if how == 3 {
            instructions::ignored(1);
        }
        loop {
            match how {
                1 | 2 => raw_call(&mut call.clone()),
                // SAFETY: a hint.
                4 => unsafe { asm!("wfi", options(nomem, nostack)) },
                _ => {
                    black_box(());
                }
            }
        }
    }

    /// A kernel call with these r0-r12; they are what they are afterwards.
    pub fn raw_call(registers: &mut [u32; 13]) {
        /// # Safety
        /// `registers` points to 13 words.
        #[unsafe(naked)]
        unsafe extern "C" fn call(registers: *mut [u32; 13]) {
            naked_asm!(
                "push {{r0, r4-r11, lr}}",
                "ldm r0, {{r0-r12}}",
                "svc #0",
                "ldr lr, [sp], #4",
                "stm lr, {{r0-r12}}",
                "pop {{r4-r11, pc}}",
            )
        }
        // SAFETY: keeps what the procedure call standard wants kept. Whatever the call does to this domain's memory
        // on request is the harm.
        unsafe { call(registers) }
    }

    /// A kernel call with r0-r5, r8, r9; returns r0.
    fn call(call: KernelCall, [r0, r1, r2, r3]: [u32; 4], [r8, r9]: [u32; 2]) -> u32 {
        let mut registers = [r0, r1, r2, r3, 0, 0, 0, call as u32, r8, r9, 0, 0, 0];
        raw_call(&mut registers);
        registers[0]
    }

    /// Makes a copy between the own memory and what was lent; returns r0.
    pub fn copy(copy: &Copy) -> u32 {
        let number = if copy.out { KernelCall::CopyOut } else { KernelCall::CopyIn };
        call(number, [copy.offset, copy.own, copy.length, 0], [0; 2])
    }

    /// Does what must have no effect; see [`Probe`].
    pub fn probe(probe: Probe, first: u32, second: u32) -> u32 {
        match probe {
            Probe::Ignored => instructions::ignored(first),
            Probe::BigEndian => big_endian(),
            Probe::Semihosting => semihosting(),
            Probe::Thumb => {
                let result;
                // SAFETY: the function is Thumb code that changes r0 alone beside what a kernel call may change.
                unsafe {
                    asm!(
                        "blx {entry}",
                        entry = in(reg) thumb_call as *const () as u32 | 1,
                        inout("r0") u32::MAX => result,
                        in("r7") KernelCall::Null as u32,
                        out("r5") _, out("r8") _, out("r9") _, out("r12") _, out("lr") _,
                    );
                }
                result
            }
            Probe::WildStack => {
                let result;
                // SAFETY: no memory is reached through the wild stack pointer; it is put right again.
                unsafe {
                    asm!(
                        "mov r4, sp", "mov sp, r1", "svc #0", "mov sp, r4",
                        inout("r0") u32::MAX => result,
                        in("r1") first,
                        in("r7") KernelCall::Null as u32,
                        out("r4") _, out("r5") _, out("r8") _, out("r9") _, out("r12") _,
                    );
                }
                result
            }
            Probe::ThreadRegister => {
                let old;
                // SAFETY: nothing in this domain uses the register.
                unsafe {
                    asm!("mrc p15, 0, {0}, c13, c0, 2", "mcr p15, 0, {1}, c13, c0, 2", out(reg) old, in(reg) first);
                }
                old
            }
            Probe::CallHandle => call(KernelCall::Call, [0; 4], [first, second]),
            Probe::Unbind => call(KernelCall::Unbind, [first, second, 0, 0], [0; 2]),
            Probe::Bind => {
                let name = case::NAMES.get(first as usize).copied().unwrap_or_default();
                call(KernelCall::Bind, name_words(&pack_name(name)), [0; 2])
            }
            Probe::CopyUnlent => {
                let mut registers = [0, OWN, 4, 0, 0, 0, 0, first, 0, 0, 0, 0, 0];
                raw_call(&mut registers);
                registers[0]
            }
            Probe::Private => {
                static DATA: AtomicU32 = AtomicU32::new(case::BUILT);
                static ZEROED: AtomicU32 = AtomicU32::new(0);
                DATA.fetch_add(1, Ordering::Relaxed) + ZEROED.fetch_add(1, Ordering::Relaxed)
            }
            Probe::Reserve => Vec::<u8>::new().try_reserve(first as usize).is_err().into(),
        }
    }

    #[unsafe(naked)]
    extern "C" fn thumb_call() {
        naked_asm!(".thumb", "svc #0xab", "bx lr", ".arm")
    }

    fn big_endian() -> u32 {
        let (result, status): (u32, u32);
        // SAFETY: no memory is reached in big-endian state but the instructions, which are little endian always.
        unsafe {
            asm!(
                "setend be", "svc #0", "mrs r1, cpsr", "setend le",
                inout("r0") u32::MAX => result,
                out("r1") status,
                in("r7") KernelCall::Null as u32,
                out("r5") _, out("r8") _, out("r9") _, out("r12") _,
            );
        }
        if status & 1 << 9 == 0 { 1 << 31 | result } else { result }
    }

    /// SYS_EXIT, as the kernel itself uses it.
    fn semihosting() -> u32 {
        let result;
        // SAFETY: a kernel call whose immediate operand is the one that the emulator serves to privileged code.
        unsafe {
            asm!(
                "svc #0x123456",
                inout("r0") 0x18 => result,
                in("r1") 0x20026,
                in("r7") KernelCall::Null as u32,
                out("r5") _, out("r8") _, out("r9") _, out("r12") _,
            );
        }
        result
    }

    const _: () = assert!(OWN == STACK_TOP - STACK);
}
