//! Instructions that user mode does not have, by number.

macro_rules! instructions {
    ($(#[doc = $doc:literal])* $names:ident, $function:ident: $($number:literal, $name:literal, $code:literal;)*) => {
        $(#[doc = $doc])*
        pub const $names: &[&str] = &[$($name),*];

        /// Executes the one with this number; returns only if it does no harm.
        #[cfg(target_os = "none")]
        #[allow(unsafe_code)] // see `harm`
        pub fn $function(number: u32) {
            let block = [0u64; 4];
            match number {
                $($number => {
                    // SAFETY: the instruction is undefined in user mode, or faults: the harm that is asked for. What
                    // it could change if it were allowed is declared as changed.
                    unsafe {
                        core::arch::asm!(
                            $code,
                            inout("r0") 0 => _, out("r1") _, inout("r2") block.as_ptr().addr() as u32 => _, out("r3") _,
                            out("r12") _, out("lr") _,
                        );
                    }
                })*
                _ => {}
            }
        }
    };
}

instructions! {
    /// Names of what [`crate::Attack::Instruction`] can execute. The last ones are unpredictable in user mode by the letter of
    /// the architecture; they must be contained all the same.
    INSTRUCTIONS, strike_instruction:
    0, "udf", "udf #0";
    1, "vmov", ".inst 0xee000a10";
    2, "neon vadd", ".inst 0xf2200800";
    3, "mrc MIDR", "mrc p15, 0, r0, c0, c0, 0";
    4, "mcr SCTLR", "mcr p15, 0, r0, c1, c0, 0";
    5, "mcr CPACR", "mcr p15, 0, r0, c1, c0, 2";
    6, "mcr TTBR0", "mcr p15, 0, r0, c2, c0, 0";
    7, "mcr TTBR1", "mcr p15, 0, r0, c2, c0, 1";
    8, "mcr DACR", "mcr p15, 0, r0, c3, c0, 0";
    9, "mcr DCCISW", "mcr p15, 0, r0, c7, c14, 2";
    10, "mcr TLBIALL", "mcr p15, 0, r0, c8, c7, 0";
    11, "mcr PMCR", "mcr p15, 0, r0, c9, c12, 0";
    12, "mrc PMCCNTR", "mrc p15, 0, r0, c9, c13, 0";
    13, "mcr VBAR", "mcr p15, 0, r0, c12, c0, 0";
    14, "mcr CONTEXTIDR", "mcr p15, 0, r0, c13, c0, 1";
    15, "mcr TPIDRURO", "mcr p15, 0, r0, c13, c0, 3";
    16, "mcr TPIDRPRW", "mcr p15, 0, r0, c13, c0, 4";
    17, "mcr CNTP_CTL", "mcr p15, 0, r0, c14, c2, 1";
    18, "mrrc CNTPCT", "mrrc p15, 0, r0, r1, c14";
    19, "mcr HCR", "mcr p15, 4, r0, c1, c1, 0";
    20, "mcr p14", "mcr p14, 0, r0, c0, c2, 2";
    21, "cdp p0", "cdp p0, 0, c0, c0, c0, 0";
    22, "smc", ".inst 0xe1600070";
    23, "hvc", ".inst 0xe1400070";
    24, "mrs spsr", "mrs r0, spsr";
    25, "msr spsr", "msr spsr_cxsf, r0";
    26, "rfeia", "rfeia r2";
    27, "srsia", "srsia sp, #0x13";
    28, "ldm user registers", "ldm r2, {{r0, r1}}^";
    29, "movs pc, lr", "movs pc, lr";
    30, "mrs banked", ".inst 0xe1010200";
}

instructions! {
    /// Names of what [`crate::Attack::Unaligned`] can execute.
    UNALIGNED, unaligned:
    0, "ldrd", "add r2, r2, #1\nldrd r0, r1, [r2]";
    1, "strd", "add r2, r2, #1\nstrd r0, r1, [r2]";
    2, "ldm", "add r2, r2, #1\nldm r2, {{r0, r1}}";
    3, "stm", "add r2, r2, #2\nstm r2, {{r0, r1}}";
    4, "ldrex", "add r2, r2, #2\nldrex r0, [r2]";
    5, "ldrexd", "add r2, r2, #4\nldrexd r0, r1, [r2]";
    6, "ldrexh", "add r2, r2, #1\nldrexh r0, [r2]";
}

/// Names of what [`crate::harm::Probe::Ignored`] can execute.
pub const IGNORED: &[&str] =
    &["cps to SVC", "cpsid aif", "msr cpsr_c to SVC, masked", "msr cpsr_c to HYP", "wfe", "sev"];

/// Executes a privileged instruction that user mode ignores; returns the CPSR after it.
#[cfg(target_os = "none")]
#[allow(unsafe_code)] // see `harm`
pub fn ignored(number: u32) -> u32 {
    macro_rules! execute {
        ($($code:literal),*) => {{
            let status;
            // SAFETY: user mode ignores the instruction; if not, the returned status tells.
            unsafe {
                core::arch::asm!($($code,)* "mrs r0, cpsr", inout("r0") 0 => status, out("lr") _, options(nostack));
            }
            status
        }};
    }
    match number {
        0 => execute!("cps #0x13"),
        1 => execute!("cpsid aif"),
        2 => execute!("mov r0, #0xd3", "msr cpsr_c, r0"),
        3 => execute!("mov r0, #0xda", "msr cpsr_c, r0"),
        4 => execute!("wfe"),
        _ => execute!("sev"),
    }
}
