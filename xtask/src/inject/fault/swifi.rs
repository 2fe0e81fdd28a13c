//! Wrong instructions: what each mutation makes of a word.

use super::Mutation;
use super::a32::{self, Class, NOP, PC, SP};
use super::text::Text;

/// Bit that turns a condition into its opposite (A8.3).
const OPPOSITE: u32 = 1 << 28;

/// All words that a mutation can make of the instruction at `pc`, each as likely as the others; none if the mutation is
/// not for this instruction. All of them differ from the instruction. All but those of [`Mutation::Bit`] do what the
/// manual says that they do: nothing UNPREDICTABLE, so that a board would do the same as the emulator.
pub fn mutants(mutation: Mutation, pc: u32, text: &Text) -> Vec<u32> {
    let Some(word) = text.instruction(pc) else { return Vec::new() };
    let encoding = a32::decode(word);
    match mutation {
        Mutation::Source => other_registers(word, encoding.map_or(0, |encoding| encoding.sources)),
        Mutation::Destination => other_registers(word, encoding.map_or(0, |encoding| encoding.destinations)),
        Mutation::Pointer => garbled(word),
        Mutation::Parameter if text.sets_parameter(pc) => vec![NOP],
        Mutation::Loop if text.decides_loop(pc) => vec![word ^ OPPOSITE],
        Mutation::Parameter | Mutation::Loop => Vec::new(),
        Mutation::Bit => (0..u32::BITS).map(|bit| word ^ 1 << bit).collect(),
        Mutation::Elide if word == NOP => Vec::new(),
        Mutation::Elide => vec![NOP],
    }
}

/// The word with another register, r0 to r14, in one of its fields.
fn other_registers(word: u32, fields: u32) -> Vec<u32> {
    let replaced = |shift| (0..PC).map(move |register| a32::with_field(word, shift, register));
    a32::fields(fields).flat_map(replaced).filter(|mutant| *mutant != word && like(word, *mutant)).collect()
}

/// The word with one bit flipped in what forms its address.
fn garbled(word: u32) -> Vec<u32> {
    let bits = a32::decode(word).map_or(0, |encoding| encoding.address);
    if bits == 0 || matches!(a32::field(word, 16), SP | PC) {
        return Vec::new();
    }
    let flipped = (0..u32::BITS).filter(|bit| bits >> bit & 1 == 1).map(|bit| word ^ 1 << bit);
    flipped.filter(|mutant| like(word, *mutant)).collect()
}

/// Whether a mutant is still the same kind of instruction, and does nothing UNPREDICTABLE (unless the word did before).
fn like(word: u32, mutant: u32) -> bool {
    let kind = |word| a32::decode(word).map(|encoding: a32::Encoding| (encoding.name, encoding.class));
    kind(mutant) == kind(word) && (a32::predictable(mutant) || !a32::predictable(word))
}

/// What a mutation changed, in words; `after` is one of the [`mutants`] of `before`.
pub fn explain(before: u32, after: u32) -> String {
    let name = a32::decode(before).map_or("?", |encoding| encoding.name);
    let what = match (before ^ after, a32::decode(before)) {
        _ if after == NOP => "nop".to_owned(),
        (OPPOSITE, _) => "the opposite condition".to_owned(),
        (changed, Some(encoding)) if encoding.class != Class::Other => {
            let role = |shift: u32| match () {
                () if encoding.destinations >> shift & 0xf == 0xf => Some("destination"),
                () if encoding.sources >> shift & 0xf == 0xf => Some("source"),
                () if encoding.address != 0 && shift == 16 => Some("base"),
                () => None,
            };
            let field = [16, 12, 8, 0].into_iter().find(|shift| changed & !(0xf << shift) == 0);
            match field.and_then(|shift| role(shift).map(|role| (shift, role))) {
                Some((shift, role)) => {
                    format!("{role} r{} -> r{}", a32::field(before, shift), a32::field(after, shift))
                }
                None => format!("bit {}", changed.trailing_zeros()),
            }
        }
        (changed, _) => format!("bit {}", changed.trailing_zeros()),
    };
    format!("{name} {before:#010x} -> {after:#010x} ({what})")
}
