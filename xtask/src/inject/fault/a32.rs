//! The A32 instruction set, as far as mutations need it: where an instruction names its registers, and how it forms
//! an address. Sections are those of the ARM Architecture Reference Manual, ARMv7-A (DDI 0406C).
//!
//! A table of our own: no kept decoder in Rust knows the whole of ARMv7's A32, takes every word without a panic, and
//! says which bits a field is made of.

/// The register fields at bits 16, 12, 8 and 0 (Rn, Rd or Rt, Rs, Rm in most encodings).
pub const AT_16: u32 = 0xf << 16;
/// See [`AT_16`].
pub const AT_12: u32 = 0xf << 12;
/// See [`AT_16`].
pub const AT_8: u32 = 0xf << 8;
/// See [`AT_16`].
pub const AT_0: u32 = 0xf;

/// Bit that adds an offset instead of subtracting it (U).
const UP: u32 = 1 << 23;
/// Bit that indexes before the access (P).
const PRE: u32 = 1 << 24;
/// Bit that writes the address back to the base register (W).
const WRITE_BACK: u32 = 1 << 21;
/// What an immediate offset of 12 bits is made of.
const OFFSET_12: u32 = 0xfff;
/// What an immediate offset of 8 bits is made of.
const OFFSET_8: u32 = AT_8 | AT_0;
/// What a shifted register offset is made of: Rm, kind and length of the shift.
const SHIFTED: u32 = 0xfe0 | AT_0;

/// The stack pointer.
pub const SP: u32 = 13;
/// The link register.
pub const LR: u32 = 14;
/// The program counter.
pub const PC: u32 = 15;

/// `nop` (A8.8.119).
pub const NOP: u32 = 0xe320_f000;
/// `b .` (A8.8.18).
pub const SELF_BRANCH: u32 = 0xeaff_fffe;

/// What kind of thing an instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Data processing proper: registers and immediates to a register (A5.2.1 to A5.2.3).
    Process,
    /// Everything else that takes registers and makes registers of them: multiplies, bit fields, media.
    Compute,
    /// Loads or stores registers that are named one by one, by their fields.
    Transfer,
    /// Loads or stores the two registers from an even one on.
    Dual,
    /// Stores exclusively, and says whether it did in a register of its own.
    Exclusive,
    /// Loads or stores a list of registers.
    Multiple,
    /// Nothing that a mutation of operands is for: branches, system and coprocessor instructions.
    Other,
}

/// An encoding: the words that match it, and what their fields mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    mask: u32,
    value: u32,
    /// Mnemonic, without suffixes.
    pub name: &'static str,
    /// Kind.
    pub class: Class,
    /// Register fields whose values go into the result, or are stored.
    pub sources: u32,
    /// Register fields that get a result, or what is loaded.
    pub destinations: u32,
    /// Bits that the address of a load or store is formed by, base register first of all.
    pub address: u32,
}

const fn row(
    mask: u32,
    value: u32,
    name: &'static str,
    class: Class,
    [destinations, sources, address]: [u32; 3],
) -> Encoding {
    Encoding { mask, value, name, class, sources, destinations, address }
}

const fn compute(mask: u32, value: u32, name: &'static str, destinations: u32, sources: u32) -> Encoding {
    row(mask, value, name, Class::Compute, [destinations, sources, 0])
}

const fn load(mask: u32, value: u32, name: &'static str, address: u32) -> Encoding {
    row(mask, value, name, Class::Transfer, [AT_12, 0, AT_16 | address])
}

const fn store(mask: u32, value: u32, name: &'static str, address: u32) -> Encoding {
    row(mask, value, name, Class::Transfer, [0, AT_12, AT_16 | address])
}

const fn other(mask: u32, value: u32, name: &'static str) -> Encoding {
    row(mask, value, name, Class::Other, [0, 0, 0])
}

/// Everything but data processing, which [`data_processing`] does. The first that matches counts.
#[rustfmt::skip]
const TABLE: &[Encoding] = &[
    // Miscellaneous (A5.2.12).
    compute(0x0fbf_0fff, 0x010f_0000, "mrs", AT_12, 0),
    other(0x0fb0_fff0, 0x0120_f000, "msr"),
    other(0x0fff_fff0, 0x012f_ff10, "bx"),
    other(0x0fff_fff0, 0x012f_ff20, "bxj"),
    other(0x0fff_fff0, 0x012f_ff30, "blx"),
    compute(0x0fff_0ff0, 0x016f_0f10, "clz", AT_12, AT_0),
    compute(0x0f90_0ff0, 0x0100_0050, "qadd", AT_12, AT_16 | AT_0),
    other(0x0f90_00f0, 0x0100_0070, "bkpt"),
    // Halfword multiplies (A5.2.7).
    compute(0x0ff0_0090, 0x0100_0080, "smla", AT_16, AT_12 | AT_8 | AT_0),
    compute(0x0ff0_00b0, 0x0120_0080, "smlaw", AT_16, AT_12 | AT_8 | AT_0),
    compute(0x0ff0_f0b0, 0x0120_00a0, "smulw", AT_16, AT_8 | AT_0),
    compute(0x0ff0_0090, 0x0140_0080, "smlal", AT_16 | AT_12, AT_8 | AT_0),
    compute(0x0ff0_f090, 0x0160_0080, "smul", AT_16, AT_8 | AT_0),
    // Multiplies (A5.2.5).
    compute(0x0fe0_f0f0, 0x0000_0090, "mul", AT_16, AT_8 | AT_0),
    compute(0x0fe0_00f0, 0x0020_0090, "mla", AT_16, AT_12 | AT_8 | AT_0),
    compute(0x0ff0_00f0, 0x0040_0090, "umaal", AT_16 | AT_12, AT_8 | AT_0),
    compute(0x0ff0_00f0, 0x0060_0090, "mls", AT_16, AT_12 | AT_8 | AT_0),
    compute(0x0fe0_00f0, 0x0080_0090, "umull", AT_16 | AT_12, AT_8 | AT_0),
    compute(0x0fe0_00f0, 0x00a0_0090, "umlal", AT_16 | AT_12, AT_8 | AT_0),
    compute(0x0fe0_00f0, 0x00c0_0090, "smull", AT_16 | AT_12, AT_8 | AT_0),
    compute(0x0fe0_00f0, 0x00e0_0090, "smlal", AT_16 | AT_12, AT_8 | AT_0),
    // Synchronisation (A5.2.10). Pairs are left alone: no compiler makes them here.
    row(0x0fb0_0ff0, 0x0180_0f90, "strex", Class::Exclusive, [AT_12, AT_0, AT_16]),
    row(0x0ff0_0ff0, 0x01e0_0f90, "strexh", Class::Exclusive, [AT_12, AT_0, AT_16]),
    load(0x0ff0_0fff, 0x0190_0f9f, "ldrex", 0),
    load(0x0fd0_0fff, 0x01d0_0f9f, "ldrexb", 0),
    other(0x0f00_00f0, 0x0100_0090, "swp"),
    // Halfwords, signed bytes and pairs (A5.2.8), from register and from immediate offsets.
    store(0x0e50_0ff0, 0x0000_00b0, "strh", UP | AT_0),
    store(0x0e50_00f0, 0x0040_00b0, "strh", UP | OFFSET_8),
    load(0x0e50_0ff0, 0x0010_00b0, "ldrh", UP | AT_0),
    load(0x0e50_00f0, 0x0050_00b0, "ldrh", UP | OFFSET_8),
    load(0x0e50_0ff0, 0x0010_00d0, "ldrsb", UP | AT_0),
    load(0x0e50_00f0, 0x0050_00d0, "ldrsb", UP | OFFSET_8),
    load(0x0e50_0ff0, 0x0010_00f0, "ldrsh", UP | AT_0),
    load(0x0e50_00f0, 0x0050_00f0, "ldrsh", UP | OFFSET_8),
    row(0x0e50_0ff0, 0x0000_00d0, "ldrd", Class::Dual, [AT_12, 0, AT_16 | UP | AT_0]),
    row(0x0e50_00f0, 0x0040_00d0, "ldrd", Class::Dual, [AT_12, 0, AT_16 | UP | OFFSET_8]),
    row(0x0e50_0ff0, 0x0000_00f0, "strd", Class::Dual, [0, AT_12, AT_16 | UP | AT_0]),
    row(0x0e50_00f0, 0x0040_00f0, "strd", Class::Dual, [0, AT_12, AT_16 | UP | OFFSET_8]),
    // What is left of data processing's room: immediates of 16 bits (A5.2), hints and `msr` (A5.2.11).
    compute(0x0ff0_0000, 0x0300_0000, "movw", AT_12, 0),
    compute(0x0ff0_0000, 0x0340_0000, "movt", AT_12, 0),
    other(0x0fff_ff00, 0x0320_f000, "hint"),
    other(0x0fb0_f000, 0x0320_f000, "msr"),
    // Words and bytes (A5.3), from immediate and from register offsets.
    store(0x0e50_0000, 0x0400_0000, "str", UP | OFFSET_12),
    store(0x0e50_0000, 0x0440_0000, "strb", UP | OFFSET_12),
    load(0x0e50_0000, 0x0410_0000, "ldr", UP | OFFSET_12),
    load(0x0e50_0000, 0x0450_0000, "ldrb", UP | OFFSET_12),
    store(0x0e50_0010, 0x0600_0000, "str", UP | SHIFTED),
    store(0x0e50_0010, 0x0640_0000, "strb", UP | SHIFTED),
    load(0x0e50_0010, 0x0610_0000, "ldr", UP | SHIFTED),
    load(0x0e50_0010, 0x0650_0000, "ldrb", UP | SHIFTED),
    // Media: parallel arithmetic (A5.4.1, A5.4.2).
    compute(0x0fb0_0f10, 0x0610_0f10, "parallel add", AT_12, AT_16 | AT_0),
    compute(0x0fb0_0f10, 0x0620_0f10, "parallel add", AT_12, AT_16 | AT_0),
    compute(0x0fb0_0f10, 0x0630_0f10, "parallel add", AT_12, AT_16 | AT_0),
    // Packing, saturation, reversal (A5.4.3).
    compute(0x0ff0_0030, 0x0680_0010, "pkh", AT_12, AT_16 | AT_0),
    compute(0x0ff0_0ff0, 0x0680_0fb0, "sel", AT_12, AT_16 | AT_0),
    compute(0x0fff_0ff0, 0x06bf_0f30, "rev", AT_12, AT_0),
    compute(0x0fff_0ff0, 0x06bf_0fb0, "rev16", AT_12, AT_0),
    compute(0x0fff_0ff0, 0x06ff_0f30, "rbit", AT_12, AT_0),
    compute(0x0fff_0ff0, 0x06ff_0fb0, "revsh", AT_12, AT_0),
    compute(0x0fb0_0ff0, 0x06a0_0f30, "sat16", AT_12, AT_0),
    compute(0x0fa0_0030, 0x06a0_0010, "sat", AT_12, AT_0),
    compute(0x0f8f_03f0, 0x068f_0070, "extend", AT_12, AT_0),
    compute(0x0f80_03f0, 0x0680_0070, "extend and add", AT_12, AT_16 | AT_0),
    // Signed multiplies, division (A5.4.4).
    compute(0x0ff0_f090, 0x0700_f010, "smuad", AT_16, AT_8 | AT_0),
    compute(0x0ff0_0090, 0x0700_0010, "smlad", AT_16, AT_12 | AT_8 | AT_0),
    compute(0x0ff0_f0f0, 0x0710_f010, "sdiv", AT_16, AT_8 | AT_0),
    compute(0x0ff0_f0f0, 0x0730_f010, "udiv", AT_16, AT_8 | AT_0),
    compute(0x0ff0_0090, 0x0740_0010, "smlald", AT_16 | AT_12, AT_8 | AT_0),
    compute(0x0ff0_f0d0, 0x0750_f010, "smmul", AT_16, AT_8 | AT_0),
    compute(0x0ff0_00d0, 0x0750_0010, "smmla", AT_16, AT_12 | AT_8 | AT_0),
    compute(0x0ff0_00d0, 0x0750_00d0, "smmls", AT_16, AT_12 | AT_8 | AT_0),
    // Sums of differences, bit fields (A5.4).
    compute(0x0ff0_f0f0, 0x0780_f010, "usad8", AT_16, AT_8 | AT_0),
    compute(0x0ff0_00f0, 0x0780_0010, "usada8", AT_16, AT_12 | AT_8 | AT_0),
    compute(0x0fe0_0070, 0x07a0_0050, "sbfx", AT_12, AT_0),
    compute(0x0fe0_0070, 0x07e0_0050, "ubfx", AT_12, AT_0),
    compute(0x0fe0_007f, 0x07c0_001f, "bfc", AT_12, 0),
    compute(0x0fe0_0070, 0x07c0_0010, "bfi", AT_12, AT_0),
    other(0x0ff0_00f0, 0x07f0_00f0, "udf"),
    // Lists of registers, branches (A5.5). Which words a list takes is part of its address.
    row(0x0e50_0000, 0x0800_0000, "stm", Class::Multiple, [0, 0, AT_16 | UP | PRE]),
    row(0x0e50_0000, 0x0810_0000, "ldm", Class::Multiple, [0, 0, AT_16 | UP | PRE]),
    other(0x0e40_0000, 0x0840_0000, "ldm^"),
    other(0x0f00_0000, 0x0a00_0000, "b"),
    other(0x0f00_0000, 0x0b00_0000, "bl"),
    // Supervisor calls, coprocessors (A5.6).
    other(0x0f00_0000, 0x0f00_0000, "svc"),
    other(0x0f10_0010, 0x0e00_0010, "mcr"),
    other(0x0f10_0010, 0x0e10_0010, "mrc"),
    other(0x0c00_0000, 0x0c00_0000, "coprocessor"),
];

/// Mnemonics of data processing by their operation (bits 24 to 21, A5.2.1).
const OPERATIONS: [&str; 16] =
    ["and", "eor", "sub", "rsb", "add", "adc", "sbc", "rsc", "tst", "teq", "cmp", "cmn", "orr", "mov", "bic", "mvn"];

/// The condition of a word, 14 for always; `None` for words that have none (A5.7: unconditional instructions).
pub const fn condition(word: u32) -> Option<u32> {
    match word >> 28 {
        15 => None,
        condition => Some(condition),
    }
}

/// Whether a word is executed whatever the flags are.
pub const fn always(word: u32) -> bool {
    word >> 28 >= 14
}

/// The encoding of a word; `None` if there is none.
pub fn decode(word: u32) -> Option<Encoding> {
    condition(word)?;
    let listed = TABLE.iter().find(|row| word & row.mask == row.value);
    listed.copied().or_else(|| data_processing(word))
}

/// Data processing with a register, a register shifted by another, or an immediate (A5.2.1 to A5.2.3).
fn data_processing(word: u32) -> Option<Encoding> {
    let (immediate, shifted) = (word >> 25 & 1 == 1, word >> 4 & 1 == 1);
    let operation = word >> 21 & 0xf;
    let (compares, moves) = (matches!(operation, 8..=11), matches!(operation, 13 | 15));
    if word >> 26 & 3 != 0 || (!immediate && shifted && word >> 7 & 1 == 1) || (compares && word >> 20 & 1 == 0) {
        return None;
    }
    let second = match (immediate, shifted) {
        (true, _) => 0,
        (false, true) => AT_8 | AT_0,
        (false, false) => AT_0,
    };
    let destinations = if compares { 0 } else { AT_12 };
    let sources = if moves { second } else { second | AT_16 };
    let name = OPERATIONS[operation as usize];
    Some(row(0x0ff0_0000, word & 0x0ff0_0000, name, Class::Process, [destinations, sources, 0]))
}

/// The fields of a mask, lowest first, each as the shift that brings it to bit 0.
pub fn fields(mask: u32) -> impl Iterator<Item = u32> {
    [0, 8, 12, 16].into_iter().filter(move |shift| mask >> shift & 0xf == 0xf)
}

/// The register that a field names.
pub const fn field(word: u32, shift: u32) -> u32 {
    word >> shift & 0xf
}

/// A word with another register in a field.
pub const fn with_field(word: u32, shift: u32, register: u32) -> u32 {
    word & !(0xf << shift) | (register & 0xf) << shift
}

/// Registers that a word changes (bits 0 to 15), as far as its encoding is known.
pub fn written(word: u32) -> u32 {
    let Some(encoding) = decode(word) else { return 0 };
    let mut registers = fields(encoding.destinations).fold(0, |all, shift| all | 1 << field(word, shift));
    match encoding.class {
        Class::Dual if encoding.destinations != 0 => registers |= registers << 1,
        Class::Multiple if encoding.name == "ldm" => registers |= word & 0xffff,
        _ => {}
    }
    if writes_back(&encoding, word) {
        registers |= 1 << field(word, 16);
    }
    if matches!(encoding.name, "bl" | "blx") {
        registers |= 1 << LR;
    }
    registers & 0xffff
}

/// Whether a load or store changes its base register.
fn writes_back(encoding: &Encoding, word: u32) -> bool {
    match encoding.class {
        Class::Transfer if encoding.name.contains("rex") => false,
        Class::Transfer | Class::Dual => word & PRE == 0 || word & WRITE_BACK != 0,
        Class::Multiple => word & WRITE_BACK != 0,
        Class::Process | Class::Compute | Class::Exclusive | Class::Other => false,
    }
}

/// Whether execution may go on elsewhere than at the next word.
pub fn branches(word: u32) -> bool {
    let known =
        decode(word).is_none_or(|encoding| matches!(encoding.name, "b" | "bl" | "bx" | "bxj" | "blx" | "svc" | "udf"));
    known || written(word) >> PC & 1 == 1
}

/// Where a branch (A8.8.18 and, linking, A8.8.25) at `pc` goes to; `None` for everything else.
pub fn branch_target(word: u32, pc: u32) -> Option<u32> {
    let encoding = decode(word)?;
    let offset = ((word << 8) as i32 >> 6) as u32;
    matches!(encoding.name, "b" | "bl").then(|| pc.wrapping_add(8).wrapping_add(offset))
}

/// Whether the manual says what a word does: a word that has an encoding and combines its registers in none of the
/// ways that are UNPREDICTABLE for it. (Only those ways that a change of registers or offsets can lead to.)
pub fn predictable(word: u32) -> bool {
    let Some(encoding) = decode(word) else { return false };
    let (base, low) = (field(word, 16), field(word, 0));
    let named = fields(encoding.sources | encoding.destinations).map(|shift| field(word, shift));
    let indexed = encoding.address & AT_0 == AT_0 && encoding.address & AT_8 != AT_8;
    let shifted = encoding.address & SHIFTED == SHIFTED && word >> 25 & 1 == 1;
    let back = writes_back(&encoding, word);
    if (indexed || shifted) && low == PC || back && base == PC {
        return false;
    }
    match encoding.class {
        // The program counter may be named, unless a register says how far to shift (A8.8.7).
        Class::Process if encoding.sources & AT_8 == 0 => true,
        Class::Process | Class::Compute => {
            let twice = encoding.destinations == AT_16 | AT_12 && base == field(word, 12);
            !twice && named.into_iter().all(|register| register != PC)
        }
        Class::Transfer => !(back && field(word, 12) == base),
        Class::Dual => {
            let first = field(word, 12);
            let pair = first | 1;
            first.is_multiple_of(2) && first != LR && !(back && base | 1 == pair) && !(indexed && low | 1 == pair)
        }
        Class::Exclusive => {
            base != PC && named.into_iter().all(|register| register != PC) && {
                let status = field(word, 12);
                status != base && status != low
            }
        }
        Class::Multiple => base != PC && word & 0xffff != 0 && !(back && word >> base & 1 == 1),
        Class::Other => true,
    }
}
