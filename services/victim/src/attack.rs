//! Ways to misbehave, as they travel in registers.

use rt::Word;

macro_rules! words {
    ($(#[doc = $outer:literal])* $type:ident { $($(#[doc = $doc:literal])* $name:ident,)* }) => {
        $(#[doc = $outer])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $($(#[doc = $doc])* $name,)*
        }

        impl rt::Word for $type {
            fn into_word(self) -> u32 {
                self as u32
            }

            fn from_word(word: u32) -> Option<Self> {
                const ALL: &[$type] = &[$($type::$name,)*];
                ALL.get(word as usize).copied()
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What to do wrong. Each takes an argument of 32 bits.
    Attack {
        /// Nothing.
        None,
        /// Loads from the address.
        Load,
        /// Stores to the address.
        Store,
        /// Jumps to the address.
        Execute,
        /// Stores to its own text (0) or constants (1).
        StoreOwn,
        /// Puts code into its own data (0), heap (1), stack (2), SSR (3), common region (4), or takes its constants
        /// (5), and jumps there.
        ExecuteOwn,
        /// An access that the architecture wants aligned: one of [`crate::case::UNALIGNED`].
        Unaligned,
        /// An instruction that user mode does not have: one of [`crate::case::INSTRUCTIONS`].
        Instruction,
        /// A privileged instruction that user mode ignores, then a store to the address.
        StoreAsIfPrivileged,
        /// `bkpt`.
        Breakpoint,
        /// The kernel call with this number and nothing in the other registers.
        Call,
        /// Panics.
        Panic,
        /// Reports a panic whose message is at the address and 4 GiB long.
        PanicAt,
        /// Allocates until nothing is left.
        ExhaustHeap,
        /// Recursion without an end.
        Recurse,
        /// Sets the stack pointer to the address and pushes.
        PushAt,
        /// An endless loop: empty (0), of kernel calls (1), of copies (2), with interrupts "masked" (3), of `wfi` (4).
        Spin,
        /// Overwrites the header's magic.
        Magic,
        /// Overwrites the header's `used`.
        Used,
        /// Overwrites the header's session number.
        Session,
        /// Overwrites the header's tag.
        Tag,
        /// Makes the content of the session senseless, which its validation finds.
        Spoil,
        /// Writes to so many pages of the common region.
        WritePages,
        /// Refuses: the hook returns an error.
        Refuse,
        /// Does nothing wrong: asks for the hook `flush`.
        AskFlush,
        /// Where a call of the next service follows: goes on making it, without an end.
        CallForever,
        /// Keeps the processor for so many rounds, then goes on.
        Work,
        /// Keeps the processor for so many rounds, then panics.
        WorkThenPanic,
        /// Does nothing wrong: notifies the session with this number.
        Tell,
        /// Does nothing wrong: stays for so many ticks without using the processor.
        Wait,
    }
}

words! {
    /// A hook that can be armed.
    Hook {
        /// The constructor.
        Construct,
        /// `open`.
        Open,
        /// `reload`.
        Reload,
        /// `flush`.
        Flush,
        /// `close`.
        Close,
        /// `event`, before it returns.
        Event,
        /// `step`, before it returns.
        Step,
    }
}

/// Where on a route to strike, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// How.
    pub attack: Attack,
    /// At which service of the route; 0 is the one that is called first.
    pub hop: u8,
    /// After its call of the next one has returned.
    pub after: bool,
}

impl Strike {
    /// None.
    pub const NONE: Strike = Strike { attack: Attack::None, hop: 0, after: false };

    /// At the first service, before its own call.
    pub const fn before(attack: Attack) -> Strike {
        Strike { attack, hop: 0, after: false }
    }

    /// At the first service, after its own call.
    pub const fn after(attack: Attack) -> Strike {
        Strike { attack, hop: 0, after: true }
    }

    /// The same, one hop further on.
    pub const fn at_next(self) -> Strike {
        Strike { hop: self.hop + 1, ..self }
    }

    /// As the next service of the route sees it.
    pub fn passed_on(self) -> Strike {
        match self.hop.checked_sub(1) {
            Some(hop) => Strike { hop, ..self },
            None => Strike::NONE,
        }
    }
}

impl Word for Strike {
    fn into_word(self) -> u32 {
        self.attack as u32 | u32::from(self.hop) << 8 | u32::from(self.after) << 16
    }

    fn from_word(word: u32) -> Option<Self> {
        let after = match word >> 16 {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Strike { attack: Attack::from_word(word & 0xff)?, hop: (word >> 8) as u8, after })
    }
}
