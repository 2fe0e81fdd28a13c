//! Failures of protected objects: what is detected, and what can be asked for on purpose.

/// Declares an enumeration whose values have numbers and names: `ALL` of them, `from_number`, `name`, `from_name`.
#[macro_export]
macro_rules! kinds {
    ($(#[doc = $outer:literal])* $type:ident { $($(#[doc = $doc:literal])* $name:ident = $number:literal, $text:literal;)* }) => {
        $(#[doc = $outer])*
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl $type {
            /// All of them, in order of their numbers.
            pub const ALL: &'static [$type] = &[$($type::$name,)*];

            /// The one with this number.
            pub const fn from_number(number: u32) -> Option<$type> {
                match number {
                    $($number => Some($type::$name),)*
                    _ => None,
                }
            }

            /// Its name, as the shell and the reports spell it.
            pub const fn name(self) -> &'static str {
                match self {
                    $($type::$name => $text,)*
                }
            }

            /// The one with this name.
            pub fn from_name(name: &str) -> Option<$type> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

kinds! {
    /// What the kernel detected (design: recovery; CuriOS, section 4).
    FailureKind {
        /// The service reported a panic.
        Panic = 1, "panic";
        /// Access to memory that the object has no right to.
        DataAbort = 2, "data-abort";
        /// Execution of memory that the object may not execute.
        PrefetchAbort = 3, "prefetch-abort";
        /// An undefined instruction.
        Undefined = 4, "undefined";
        /// An unaligned access that the architecture forbids.
        Alignment = 5, "alignment";
        /// The stack ran into its guard page.
        StackOverflow = 6, "stack-overflow";
        /// The activation used up its processor time.
        Budget = 7, "budget";
        /// A kernel call outside the manifest, or one that makes no sense here.
        ForbiddenCall = 8, "forbidden-call";
        /// The header of the SSR was damaged on return, or a checksum does not hold.
        SsrDamaged = 9, "ssr-damaged";
        /// The heap was used up and the service had no answer.
        HeapExhausted = 10, "heap-exhausted";
        /// The request changed more pages than the manifest reserves pre-images for.
        UndoExhausted = 11, "undo-exhausted";
        /// A breakpoint or another debug event.
        Debug = 12, "debug";
        /// The self-test found something wrong.
        SelfTest = 13, "self-test";
    }
}

kinds! {
    /// Ways to make a service fail on purpose.
    SabotageKind {
        /// `panic!`.
        Panic = 1, "panic";
        /// Read of an unmapped address.
        DataAbort = 2, "data-abort";
        /// Jump to an unmapped address.
        PrefetchAbort = 3, "prefetch-abort";
        /// An undefined instruction.
        Undefined = 4, "undefined";
        /// `ldrd` from an unaligned address.
        Alignment = 5, "alignment";
        /// Unbounded recursion.
        StackOverflow = 6, "stack-overflow";
        /// An endless loop.
        EndlessLoop = 7, "endless-loop";
        /// Write to where another client's SSR lies in memory (its physical frame and the page after the own SSR).
        ForeignSsr = 8, "foreign-ssr";
        /// Write to the kernel.
        KernelWrite = 9, "kernel-write";
        /// Jump into data.
        JumpToData = 10, "jump-to-data";
        /// Overwrite the allocator's structures, then allocate until it shows.
        HeapCorruption = 11, "heap-corruption";
        /// Overwrite the header of the SSR that is open.
        SsrHeader = 12, "ssr-header";
    }
}

/// When, within the sabotaged call, the failure strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the method's first instruction.
    Entry = 0,
    /// At the method's first copy from or to a lent buffer; at its end if it makes none.
    Copy = 1,
    /// After the method's last instruction: all its work done, nothing committed.
    End = 2,
}

/// A failure on request: a [`SabotageKind`] at a [`Moment`], as one word (kind in bits 0-7, moment in bits 8-15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sabotage {
    /// How to fail.
    pub kind: SabotageKind,
    /// When to fail.
    pub moment: Moment,
}

impl Sabotage {
    /// The word that carries it through registers; never 0.
    pub const fn word(self) -> u32 {
        self.kind as u32 | (self.moment as u32) << 8
    }

    /// The sabotage in a word; `None` if it names no kind or no moment.
    pub const fn from_word(word: u32) -> Option<Sabotage> {
        let moment = match word >> 8 {
            0 => Moment::Entry,
            1 => Moment::Copy,
            2 => Moment::End,
            _ => return None,
        };
        match SabotageKind::from_number(word & 0xff) {
            Some(kind) => Some(Sabotage { kind, moment }),
            None => None,
        }
    }
}
