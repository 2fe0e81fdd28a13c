//! A service of few instructions, made of real ones.

mod draws;
mod encodings;
mod mutations;
mod targets;

use std::ops::Range;

use super::target::{Kind, Regions, Target};
use super::text::Text;
use object::read::elf::ElfFile32;

/// Where the method of the console's driver lies that forgets a session.
const CLOSE: u32 = 0x1_1328;
/// Where the function lies that it panics with.
const PANIC: u32 = 0x1_266c;
/// The symbols of both, and of an endless loop and some data behind the method.
const SYMBOLS: [(&str, u32, u8); 6] = [
    ("$a", CLOSE, 0),
    ("_ZN7console5close17h0123456789abcdefE", CLOSE, 2),
    ("$d.1", CLOSE + 4 * METHOD.len() as u32, 0),
    ("$a.2", PANIC, 0),
    ("_RNvNtCs54WhcqHfLbI_4core9panicking18panic_bounds_check", PANIC, 2),
    ("endless", PANIC + 8, 2),
];

/// The method, as the compiler made it.
const METHOD: [u32; 47] = [
    0xe92d_4830, // 11328: push {r4, r5, fp, lr}
    0xe28d_b008, // 1132c: add fp, sp, #8
    0xe305_c008, // 11330: movw ip, #20488
    0xe340_c001, // 11334: movt ip, #1
    0xe59c_e108, // 11338: ldr lr, [ip, #264]
    0xe35e_0000, // 1133c: cmp lr, #0
    0x0a00_001d, // 11340: beq 113bc
    0xe300_0008, // 11344: movw r0, #8
    0xe3a0_2001, // 11348: mov r2, #1
    0xe340_01e0, // 1134c: movt r0, #480
    0xe3a0_4000, // 11350: mov r4, #0
    0xe590_1000, // 11354: ldr r1, [r0]
    0xe3a0_3000, // 11358: mov r3, #0
    0xe353_0c01, // 1135c: cmp r3, #256
    0x0a00_0015, // 11360: beq 113bc
    0xe1a0_0004, // 11364: mov r0, r4
    0xe08c_4003, // 11368: add r4, ip, r3
    0xe594_5008, // 1136c: ldr r5, [r4, #8]
    0xe1a0_4000, // 11370: mov r4, r0
    0xe155_0001, // 11374: cmp r5, r1
    0x1284_4001, // 11378: addne r4, r4, #1
    0xe15e_0002, // 1137c: cmp lr, r2
    0x1283_3004, // 11380: addne r3, r3, #4
    0x1282_2001, // 11384: addne r2, r2, #1
    0x1155_0001, // 11388: cmpne r5, r1
    0x1aff_fff2, // 1138c: bne 1135c
    0xe155_0001, // 11390: cmp r5, r1
    0x18bd_8830, // 11394: popne {r4, r5, fp, pc}
    0xe24e_1001, // 11398: sub r1, lr, #1
    0xe35e_0040, // 1139c: cmp lr, #64
    0xe58c_1108, // 113a0: str r1, [ip, #264]
    0x8a00_0005, // 113a4: bhi 113c0
    0xe350_0040, // 113a8: cmp r0, #64
    0x2a00_0008, // 113ac: bcs 113d4
    0xe28c_2008, // 113b0: add r2, ip, #8
    0xe792_1101, // 113b4: ldr r1, [r2, r1, lsl #2]
    0xe782_1100, // 113b8: str r1, [r2, r0, lsl #2]
    0xe8bd_8830, // 113bc: pop {r4, r5, fp, pc}
    0xe304_2360, // 113c0: movw r2, #17248
    0xe1a0_0001, // 113c4: mov r0, r1
    0xe340_2001, // 113c8: movt r2, #1
    0xe3a0_1040, // 113cc: mov r1, #64
    0xeb00_04a5, // 113d0: bl panic_bounds_check
    0xe304_2370, // 113d4: movw r2, #17264
    0xe3a0_1040, // 113d8: mov r1, #64
    0xe340_2001, // 113dc: movt r2, #1
    0xeb00_04a1, // 113e0: bl panic_bounds_check
];

/// What lies at [`PANIC`], and behind it.
const TAIL: [u32; 3] = [
    0xe92d_4fe0, // 1266c: push {r5-r11, lr}
    0xe28d_b018, // 12670: add fp, sp, #24
    0xeaff_fffe, // 12674: b .
];

/// All of the text. What lies between method and panic is marked as data.
fn words() -> Vec<u32> {
    let gap = (PANIC - CLOSE) as usize / 4 - METHOD.len();
    [&METHOD[..], &vec![0xe320_f000; gap], &TAIL].concat()
}

/// An executable: text at [`CLOSE`], sections (name, address, bytes), and symbols (name, address, 2 for a function).
fn elf(text: &[u32], sections: &[(&str, Range<u32>)], symbols: &[(&str, u32, u8)]) -> Vec<u8> {
    let flat = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let (mut names, mut table, mut headers) = (vec![0u8], vec![0u8; 16], vec![[0; 10]]);
    let mut name = |name: &str| {
        let at = names.len() as u32;
        names.extend(name.bytes().chain([0]));
        at
    };
    for (symbol, address, kind) in symbols {
        table.extend(flat(&[name(symbol), *address, 0, 1 << 16 | u32::from(*kind)]));
    }
    let text = flat(text);
    let (text_at, table_at) = (52, 52 + text.len() as u32);
    let names_at = table_at + table.len() as u32;
    headers.push([name(".text"), 1, 6, CLOSE, text_at, text.len() as u32, 0, 0, 4, 0]);
    headers.push([name(".symtab"), 2, 0, 0, table_at, table.len() as u32, 3, 1, 4, 16]);
    headers.push([name(".strtab"), 3, 0, 0, names_at, 0, 0, 0, 1, 0]);
    for (section, range) in sections {
        headers.push([name(section), 8, 3, range.start, 0, range.end - range.start, 0, 0, 4, 0]);
    }
    headers[3][5] = names.len() as u32;
    let headers_at = names_at + names.len() as u32;
    let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0\x01\0\0\0".to_vec();
    bytes.extend(flat(&[CLOSE, 0, headers_at, 0x0500_0200, 52, 40 << 16, 3 << 16 | headers.len() as u32]));
    bytes.extend([text, table, names, flat(headers.as_flattened())].concat());
    bytes
}

fn text(words: &[u32], symbols: &[(&str, u32, u8)]) -> Text {
    let bytes = elf(words, &[], symbols);
    Text::read(&ElfFile32::parse(&*bytes).expect("an executable")).expect("a text")
}

/// A text of nothing but these instructions.
fn only(words: &[u32]) -> Text {
    text(words, &[("$a", CLOSE, 0)])
}

fn method() -> Text {
    text(&words(), &SYMBOLS)
}

/// A service with one region of each kind.
fn service() -> Target {
    let regions = Regions {
        text: method().range(),
        constants: 0x1_4000..0x1_4608,
        data: 0x1_5000..0x1_5005,
        bss: 0x1_5009..0x1_5020,
        heap: 0x80_0000..0x80_0100,
        stack: 0xef_e000..0xf0_0000,
    };
    Target {
        name: "console".to_owned(),
        kind: Kind::Service,
        text: method(),
        hook: Some(CLOSE),
        regions,
        ssr: true,
        interrupts: true,
        recovery: 500,
    }
}
