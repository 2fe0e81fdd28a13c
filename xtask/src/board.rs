//! What the tool must know about a board.

/// A board as an emulator offers it.
pub struct Board {
    /// Name, as in the paths of products.
    pub name: &'static str,
    /// QEMU's name of the machine.
    pub machine: &'static str,
    /// First physical address of memory.
    pub memory_base: u32,
    /// Bytes of memory.
    pub memory_size: u32,
    /// Where the emulator puts a flat binary and enters it.
    pub load_address: u32,
    /// Device registers that the kernel keeps to itself: start and end, and what they are.
    pub reserved: &'static [(u32, u32, &'static str)],
    /// Devices that services may own: start, end and name of their registers.
    pub devices: &'static [(u32, u32, &'static str)],
    /// Interrupts that devices have: first, and behind the last. Those below are the processor's own.
    pub interrupts: (u32, u32),
    /// Interrupt of the kernel's tick.
    pub tick: u32,
}

/// QEMU's `virt` (its memory map is part of QEMU's documentation of the machine, `hw/arm/virt.c`).
pub const VIRT: Board = Board {
    name: "virt",
    machine: "virt",
    memory_base: 0x4000_0000,
    memory_size: 128 << 20,
    load_address: 0x4001_0000,
    reserved: &[(0x0800_0000, 0x0802_0000, "interrupt controller")],
    devices: &[
        (0x0900_0000, 0x0900_1000, "UART PL011"),
        (0x0901_0000, 0x0901_1000, "clock PL031"),
        (0x0903_0000, 0x0903_1000, "GPIO PL061"),
        (0x0a00_0000, 0x0a00_4000, "virtio-mmio"),
    ],
    interrupts: (32, 288),
    tick: 30,
};
