//! What was done, in words.

use super::draw::CPSR;
use super::target::{Regions, Target};
use super::{REGIONS, swifi};
use crate::inject::model::{Action, Region};

/// The bits of the CPSR, from 0 (ARM Architecture Reference Manual, ARMv7-A, B1.3.3).
const CPSR_BITS: [&str; 32] = [
    "M0", "M1", "M2", "M3", "M4", "T", "F", "I", "A", "E", "IT2", "IT3", "IT4", "IT5", "IT6", "IT7", "GE0", "GE1",
    "GE2", "GE3", "reserved", "reserved", "reserved", "reserved", "J", "IT0", "IT1", "Q", "V", "C", "Z", "N",
];

/// Where an action at the instruction `pc` of a target strikes.
pub fn describe(action: &Action, pc: u32, target: &Target) -> String {
    match *action {
        Action::Nothing | Action::Look => "nothing".to_owned(),
        Action::Register { register: CPSR, mask } => match CPSR_BITS.get(mask.trailing_zeros() as usize) {
            Some(name) if mask.is_power_of_two() => format!("CPSR bit {} ({name})", mask.trailing_zeros()),
            _ => format!("CPSR bits {mask:#010x}"),
        },
        Action::Register { register, mask } => format!("r{register} {}", bits(u32::MAX, mask)),
        Action::Memory { address, keep, flip } if keep != 0 && keep == !flip => {
            format!("events that wait for the object {address:#010x}, {flip:#010x} set")
        }
        Action::Memory { address, keep, flip } => {
            format!("{} {address:#010x} {}", region(address, &target.regions), bits(keep, flip))
        }
        Action::Stack { nth, keep, flip, .. } => format!("stack, word {nth} modulo those in use, {}", bits(keep, flip)),
        Action::Ssr { nth, keep, flip } => format!("SSR, word {nth} modulo those in use, {}", bits(keep, flip)),
        Action::Jump { pc: to } if to == pc.wrapping_add(super::text::WORD) => "instruction skipped".to_owned(),
        Action::Jump { pc: to } => format!("jump to {to:#010x}"),
        Action::Patch { word } => match target.text.instruction(pc) {
            Some(before) => swifi::explain(before, word),
            None => format!("instruction -> {word:#010x}"),
        },
        Action::Instead { word } => format!("executes {word:#010x} instead, once"),
    }
}

fn bits(keep: u32, flip: u32) -> String {
    match (keep, flip.count_ones()) {
        (u32::MAX, 1) => format!("bit {}", flip.trailing_zeros()),
        (u32::MAX, _) => format!("bits {flip:#010x}"),
        _ => "overwritten".to_owned(),
    }
}

/// The name of the region that an address lies in.
fn region(address: u32, regions: &Regions) -> &'static str {
    let ssr = abi::layout::SSR_BASE..abi::layout::MMIO_BASE;
    let found = if ssr.contains(&address) { Some(Region::Ssr) } else { regions.find(address) };
    let name = |region| REGIONS.into_iter().find(|(known, _)| *known == region).map(|(_, name)| name);
    found.and_then(name).unwrap_or("memory")
}
