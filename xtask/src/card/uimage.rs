//! Legacy images of U-Boot (its `include/image.h`): a header of 64 bytes, big endian, with two CRC-32 sums.

use anyhow::{Context, Result};
use zerocopy::big_endian::U32;
use zerocopy::{Immutable, IntoBytes};

/// First word of a header, `IH_MAGIC`.
const MAGIC: u32 = 0x2705_1956;
/// `IH_ARCH_ARM`.
const ARM: u8 = 2;

/// What an image is: operating system (`IH_OS_LINUX` 5, `IH_OS_U_BOOT` 17) and type (`IH_TYPE_KERNEL` 2, `IH_TYPE_SCRIPT` 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// For `bootm`. It must claim to be Linux: that is the only handover which leaves MMU and caches off and passes a device tree.
    Kernel,
    /// For `source`.
    Script,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    magic: U32,
    /// CRC-32 of this header with 0 here.
    header_sum: U32,
    /// Seconds since 1970. Always 0, so that the same system gives the same card.
    time: U32,
    /// Bytes behind the header.
    size: U32,
    load: U32,
    entry: U32,
    data_sum: U32,
    system: u8,
    architecture: u8,
    kind: u8,
    compression: u8,
    name: [u8; 32],
}

/// Bytes of a header.
pub const HEADER: u32 = size_of::<Header>() as u32;

/// A flat binary for `bootm`: it is put at `load` and entered there.
///
/// # Errors
/// If it is longer than a header can say.
pub fn kernel(name: &str, load: u32, bytes: &[u8]) -> Result<Vec<u8>> {
    image(Kind::Kernel, name, load, bytes)
}

/// A script for `source`: a list of lengths, ended by 0, then the text.
///
/// # Errors
/// If it is longer than a header can say.
pub fn script(name: &str, text: &str) -> Result<Vec<u8>> {
    let length = u32::try_from(text.len()).context("the boot script is too long")?;
    let list = [U32::new(length), U32::new(0)];
    image(Kind::Script, name, 0, &[list.as_bytes(), text.as_bytes()].concat())
}

fn image(kind: Kind, name: &str, load: u32, bytes: &[u8]) -> Result<Vec<u8>> {
    let (system, number) = match kind {
        Kind::Kernel => (5, 2),
        Kind::Script => (17, 6),
    };
    let mut header = Header {
        magic: U32::new(MAGIC),
        header_sum: U32::new(0),
        time: U32::new(0),
        size: U32::new(u32::try_from(bytes.len()).context("an image for U-Boot is at most 4 GiB long")?),
        load: U32::new(load),
        entry: U32::new(load),
        data_sum: U32::new(crc32fast::hash(bytes)),
        system,
        architecture: ARM,
        kind: number,
        compression: 0,
        name: [0; 32],
    };
    // The last byte stays 0: U-Boot prints the name as a C string.
    header.name.iter_mut().take(31).zip(name.bytes()).for_each(|(slot, byte)| *slot = byte);
    header.header_sum = U32::new(crc32fast::hash(header.as_bytes()));
    Ok([header.as_bytes(), bytes].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What mkimage of U-Boot 2023.01 puts before `abc` (`-O linux -T kernel -a 0x82000000 -e 0x82000000 -n curios-rs`) and
    /// before the script `echo a` (`-O u-boot -T script -n boot`), both with `SOURCE_DATE_EPOCH=0 -A arm -C none`, up to the name.
    const KERNEL: [u8; 32] = [
        0x27, 0x05, 0x19, 0x56, 0x85, 0x6b, 0x77, 0x1a, 0, 0, 0, 0, 0, 0, 0, 3, 0x82, 0, 0, 0, 0x82, 0, 0, 0, 0x35,
        0x24, 0x41, 0xc2, 5, 2, 2, 0,
    ];
    const SCRIPT: [u8; 32] = [
        0x27, 0x05, 0x19, 0x56, 0x9a, 0xd4, 0x36, 0x4e, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0x9a, 0xdc,
        0xda, 0x1f, 0x11, 2, 6, 0,
    ];

    #[track_caller]
    fn same(image: &[u8], head: &[u8], name: &str, data: &[u8]) {
        let mut padded = name.as_bytes().to_vec();
        padded.resize(32, 0);
        assert_eq!(image, [head, &padded, data].concat());
    }

    #[test]
    fn bytes_are_those_of_mkimage() {
        same(&kernel("curios-rs", 0x8200_0000, b"abc").expect("short"), &KERNEL, "curios-rs", b"abc");
        same(&script("boot", "echo a\n").expect("short"), &SCRIPT, "boot", b"\0\0\0\x07\0\0\0\0echo a\n");
    }

    #[test]
    fn a_long_name_is_cut_and_stays_a_c_string() {
        let image = kernel(&"n".repeat(40), 0, b"").expect("short");
        assert_eq!(image.len(), HEADER as usize);
        assert_eq!(image[32..], [[b'n'; 31].as_slice(), &[0]].concat());
    }
}
