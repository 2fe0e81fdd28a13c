//! The kernel is entered in every state that a boot loader may leave: a few instructions in front of it make that state.
//!
//! They are put together here, word by word, and loaded beside the image by the emulator's `loader` device.

mod common;

use std::path::Path;
use std::process::Command;

use common::{converse, image, must, scratch};

/// Where QEMU's `virt` has its memory, and where the kernel is linked.
const MEMORY: u32 = 0x4000_0000;
const KERNEL: u32 = 0x4001_0000;
/// Where the image is loaded, before the stub copies it to the kernel's place; where the stub and its tables are.
const COPY: u32 = 0x4400_0000;
const STUB: u32 = 0x4600_0000;
const SHORT_TABLE: u32 = 0x4610_0000;
const LONG_TABLE: u32 = 0x4620_0000;

/// Registers of the stub.
const R0: u32 = 0;
const R1: u32 = 1;
const R2: u32 = 2;

/// Instructions in a row.
#[derive(Default)]
struct Stub(Vec<u32>);

impl Stub {
    fn word(&mut self, word: u32) -> &mut Self {
        self.0.push(word);
        self
    }

    /// `movw` and `movt`.
    fn load(&mut self, register: u32, value: u32) -> &mut Self {
        let half = |value: u32| (value >> 12 & 0xf) << 16 | register << 12 | value & 0xfff;
        self.word(0xe300_0000 | half(value & 0xffff)).word(0xe340_0000 | half(value >> 16))
    }

    /// `mcr p15, op1, r0, n, m, op2` with a value for r0.
    fn set(&mut self, op1: u32, (n, m, op2): (u32, u32, u32), value: u32) -> &mut Self {
        self.load(R0, value).word(0xee00_0f10 | op1 << 21 | n << 16 | m | op2 << 5)
    }

    /// Sets bits of a register of the same kind: `mrc`, `orr`, `mcr`, `isb`.
    fn set_bits(&mut self, op1: u32, (n, m, op2): (u32, u32, u32), bits: u32) -> &mut Self {
        let place = op1 << 21 | n << 16 | m | op2 << 5;
        self.word(0xee10_0f10 | place).load(R1, bits).word(0xe180_0001).word(0xee00_0f10 | place).barriers()
    }

    /// `mcrr p15, op1, r0, r1, m` with a value whose upper half is 0.
    fn set_wide(&mut self, op1: u32, m: u32, value: u32) -> &mut Self {
        self.load(R0, value).load(R1, 0).word(0xec41_0f00 | op1 << 4 | m)
    }

    /// `dsb`, `isb`.
    fn barriers(&mut self) -> &mut Self {
        self.word(0xf57f_f04f).word(0xf57f_f06f)
    }

    /// Copies the image to the kernel's place: `ldr r3, [r1], #4`, `str r3, [r0], #4`, `cmp r0, r2`, `blo`.
    fn copy(&mut self, length: u32) -> &mut Self {
        self.load(R0, KERNEL).load(R1, COPY).load(R2, KERNEL + length.next_multiple_of(4));
        self.word(0xe491_3004).word(0xe480_3004).word(0xe150_0002).word(0x3aff_fffb)
    }

    /// Enters the kernel with this in r2: `bx r0`.
    fn enter(&mut self, tree: u32) -> &mut Self {
        self.load(R2, tree).load(R0, KERNEL).word(0xe12f_ff10)
    }
}

/// TTBCR, TTBR0 and TTBR1, DACR, SCTLR, VBAR, MAIR0 (ARM ARM B4.1): CRn, CRm, opc2.
const TTBCR: (u32, u32, u32) = (2, 0, 2);
const TTBR0: (u32, u32, u32) = (2, 0, 0);
const TTBR1: (u32, u32, u32) = (2, 0, 1);
const DACR: (u32, u32, u32) = (3, 0, 0);
const SCTLR: (u32, u32, u32) = (1, 0, 0);
const MAIR0: (u32, u32, u32) = (10, 2, 0);
const TLBIALL: (u32, u32, u32) = (8, 7, 0);
/// HTCR, with opc1 = 4.
const HTCR: (u32, u32, u32) = (2, 0, 2);
const TLBIALLH: (u32, u32, u32) = (8, 7, 0);

/// SCTLR: MMU, data cache, branch prediction, instruction cache.
const ON: u32 = 1 << 0 | 1 << 2 | 1 << 11 | 1 << 12;
/// SCTLR: alignment checks, high vectors.
const STRICT: u32 = 1 << 1 | 1 << 13;
/// TTBCR.EAE: long descriptors.
const EAE: u32 = 1 << 31;
/// MAIR0: attribute 0 is device memory, attribute 1 cacheable memory.
const ATTRIBUTES: u32 = 0xff04;

/// Sections that map everything to itself: memory cacheable, the rest as devices.
fn short_table() -> Vec<u8> {
    let section = |index: u32| match index << 20 {
        address @ MEMORY..0x4800_0000 => address | 0x1c0e,
        address => address | 0x0c06,
    };
    (0..4096).flat_map(|index| section(index).to_le_bytes()).collect()
}

/// The same with blocks of 1 GiB and long descriptors (B3.6.1): accessed, shareable, valid.
fn long_table() -> Vec<u8> {
    let block = |index: u64| index << 30 | 1 << 10 | 3 << 8 | u64::from(index == 1) << 2 | 1;
    (0..4).flat_map(|index| block(index).to_le_bytes()).collect()
}

fn short_descriptors(stub: &mut Stub) {
    stub.set(0, TTBCR, 0).set(0, TTBR0, SHORT_TABLE).set(0, DACR, u32::MAX).set(0, TLBIALL, 0).barriers();
    stub.set_bits(0, SCTLR, ON);
}

fn long_descriptors(stub: &mut Stub) {
    stub.set(0, TTBCR, EAE).set(0, MAIR0, ATTRIBUTES).set_wide(0, 2, LONG_TABLE).set(0, TLBIALL, 0).barriers();
    stub.set_bits(0, SCTLR, ON);
}

/// Enters the kernel in the state that `state` makes, with `tree` in r2, and talks to the shell.
fn entered(name: &str, hyp: bool, tree: u32, state: impl FnOnce(&mut Stub)) {
    let folder = scratch();
    let length = must(image().metadata()).len() as u32;
    let mut stub = Stub::default();
    stub.copy(length);
    state(&mut stub);
    stub.enter(tree);
    let code: Vec<u8> = stub.0.iter().flat_map(|word| word.to_le_bytes()).collect();
    let files = [("stub", STUB, code), ("short", SHORT_TABLE, short_table()), ("long", LONG_TABLE, long_table())];
    let mut command = Command::new("qemu-system-arm");
    let machine = if hyp { "virt,virtualization=on" } else { "virt" };
    command.args(["-M", machine, "-cpu", "cortex-a15", "-m", "128M", "-nic", "none", "-display", "none"]);
    command.args(["-monitor", "none", "-serial", "stdio", "-semihosting-config", "enable=on,target=native"]);
    command.args(["-icount", "shift=0,sleep=on"]);
    let mut load = |path: &Path, address: u32| {
        command.arg("-device").arg(format!("loader,file={},addr={address:#x},force-raw=on", path.display()));
    };
    load(image(), COPY);
    for (file, address, bytes) in &files {
        let path = folder.path().join(file);
        must(std::fs::write(&path, bytes));
        load(&path, *address);
    }
    command.arg("-device").arg(format!("loader,addr={STUB:#x},cpu-num=0"));
    let (status, text) = converse(command, &[]);
    assert_eq!(status, Some(9), "{name}: {text}");
    assert!(text.contains("[demo] every promise held"), "{name}: {text}");
}

#[test]
fn with_everything_off_and_anything_for_a_device_tree() {
    for tree in [0, MEMORY, 3, 0x47ff_fffc, 0x9000_0000, u32::MAX, SHORT_TABLE] {
        entered(&format!("r2 = {tree:#x}"), false, tree, |_| {});
    }
}

#[test]
fn with_mmu_and_caches_on() {
    entered("short descriptors", false, MEMORY, short_descriptors);
    entered("caches without MMU", false, 0, |stub| {
        stub.set_bits(0, SCTLR, ON & !1);
    });
}

#[test]
fn with_long_descriptors() {
    entered("long descriptors in force", false, MEMORY, long_descriptors);
    entered("long descriptors left behind", false, 0, |stub| {
        stub.set(0, TTBCR, EAE).set(0, TTBR0, 0xdead_0000).set(0, TTBR1, 0xbeef_0000).set_bits(0, SCTLR, STRICT);
    });
}

#[test]
fn in_hyp() {
    entered("nothing on", true, 0, |_| {});
    entered("translation in HYP, and garbage for SVC", true, MEMORY, |stub| {
        stub.set(0, TTBCR, 7).set(0, TTBR0, 0xdead_0000).set(0, TTBR1, 0xbeef_0000).set_bits(0, SCTLR, ON | STRICT);
        // HMAIR0, HTCR, HTTBR, TLBIALLH, HSCTLR.
        stub.set(4, MAIR0, ATTRIBUTES).set(4, HTCR, 1 << 31 | 1 << 23).set_wide(4, 2, LONG_TABLE).set(4, TLBIALLH, 0);
        stub.barriers().set_bits(4, SCTLR, ON & !(1 << 11));
    });
}
