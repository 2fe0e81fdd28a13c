//! The boot image: services, programs and blobs with their manifests, in one file behind the kernel.
//!
//! Layout: [`Header`], `entries` times [`Entry`], then the data that the entries' segments name, each
//! segment starting at a multiple of 4096 from the start of the image. All numbers are little endian. The
//! kernel runs [`parse`] before it trusts a byte of it; the host tool writes it.

mod check;

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::dma::{MAX_RULES, Rule};
use crate::event::MAX_LINES;
use crate::layout;

pub use check::parse;

/// First eight bytes of a boot image.
pub const MAGIC: [u8; 8] = *b"CURIOSIM";
/// Version of this format.
pub const VERSION: u32 = 4;
/// The most entries that an image may have (callees are a 64-bit set).
pub const MAX_ENTRIES: usize = 64;
/// Index that names no entry.
pub const NONE: u32 = u32::MAX;
/// Interrupt numbers lie below this: what a GIC has. Which of them are a service's to have depends on the board.
pub const MAX_INTERRUPT: u32 = 1020;
/// MMIO ranges of one service, at most.
pub const MAX_MMIO: usize = 4;

bitflags! {
    /// Kernel calls that a manifest may grant (`calls = [...]`). What is not here is either part of being
    /// a service or a program (calls, returns, copies of lent buffers, panic, exit, wait and kill of own
    /// children, yield) or granted otherwise (`Bind` by `callees`, `Spawn` by `spawns`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u32 {
        /// `pause`: wait with a limit of time.
        const PAUSE = 1 << 0;
        /// `time`: read the clock.
        const TIME = 1 << 1;
        /// `info`: read records about the system.
        const INFO = 1 << 2;
        /// `sabotage`: make services fail.
        const SABOTAGE = 1 << 3;
        /// `shutdown`: end the system.
        const SHUTDOWN = 1 << 4;
        /// `log`: write to the kernel's log.
        const LOG = 1 << 5;
        /// `counter`: read the cycle counter from user mode (bench images only).
        const COUNTER = 1 << 6;
        /// `deadline`: be woken at a time.
        const DEADLINE = 1 << 7;
        /// `control`: restart, hold, stop, start and probe services.
        const CONTROL = 1 << 8;
        /// `emit`: write a device register and note that in one step.
        const EMIT = 1 << 9;
    }
}

bitflags! {
    /// Properties of a service.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// `serial`: state across sessions; retained whole until the outermost request commits.
        const SERIAL = 1 << 0;
        /// `lazy_reload`: after a recovery a session is reloaded at its next call instead of at once.
        const LAZY_RELOAD = 1 << 1;
        /// `integrity = "checksum"`: SSRs and common region are checksummed at commit, verified before use.
        const INTEGRITY = 1 << 2;
        /// `role = "scheduler"`: the kernel asks it which program runs next. At most one.
        const SCHEDULER = 1 << 3;
        /// `role = "supervisor"`: the kernel tells it of failures, and never gives it up. At most one.
        const SUPERVISOR = 1 << 4;
        /// `doubt_errors`: an error that a method returns is believed only if a rebuilt object returns one, too.
        const DOUBT_ERRORS = 1 << 5;
    }
}

crate::kinds! {
    /// What the kernel does about an object that failed: [`Recovery::Rollback`], or one of the baselines that it is compared
    /// with.
    Recovery {
        /// The object is given up at its first failure: its callers get [`crate::Error::Stopped`].
        None = 1, "none";
        /// The object is started anew and so is everything it knew: its text is verified, its common region as at boot, its
        /// sessions are lost ([`crate::Error::SessionLost`], the failed call first). Clients bind again.
        Blind = 2, "blind";
        /// The object is rebuilt and its sessions stay, without protection: the SSRs of all its sessions lie writable behind the
        /// open one, the common region is writable, there are no checksums. Nothing is undone; the failed call is tried again.
        Kept = 3, "kept";
        /// As `Rollback`, one SSR at a time, but nothing is undone: neither the failed call, which is tried again on what it
        /// left, nor calls nested in it. A session is lost if the header of its SSR does not hold.
        Ssr = 4, "ssr";
        /// The failed call is undone, with the calls nested in it, and tried again.
        Rollback = 5, "rollback";
    }
}

/// Kind of an entry.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service: becomes a protected object at boot.
    Object = 1,
    /// A program: started by the boot list or by `Spawn`.
    Program = 2,
    /// Bytes that become the initial content of a service's common region.
    Blob = 3,
}

/// First bytes of a boot image.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: u32,
    /// Bytes of the whole image, a multiple of 4096.
    pub length: u32,
    /// Number of entries, 1 to [`MAX_ENTRIES`].
    pub entries: u32,
    /// Bytes of one [`Entry`].
    pub entry_size: u32,
    /// [`Recovery`].
    pub recovery: u32,
    /// 0.
    pub reserved: u32,
    /// [`checksum`] of header (this field 0) and entries.
    pub checksum: u64,
}

/// One loadable part of an entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Segment {
    /// Virtual address, page aligned; 0 for a segment of no length.
    pub address: u32,
    /// Offset of its bytes from the start of the image, page aligned.
    pub offset: u32,
    /// Bytes in the image. The last page is padded with zeros in the image.
    pub file_size: u32,
    /// Bytes in memory, at least `file_size`; the rest is zeroed (bss).
    pub memory_size: u32,
    /// [`checksum`] of the bytes in the image, padded with zeros to whole pages.
    pub checksum: u64,
}

/// A range of device registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Mmio {
    /// Physical address, page aligned.
    pub address: u32,
    /// Bytes, a multiple of the page; 0 = unused entry.
    pub length: u32,
}

/// What the supervisor does about a service beyond its rebuilding in place, which the kernel does by itself
/// (MINIX 3's reincarnation server; DSN'07, section 5). Times in ticks of a millisecond.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Policy {
    /// Time between two self-tests, 0 = none.
    pub heartbeat: u32,
    /// Periods without an answer before the service counts as hung.
    pub misses: u32,
    /// A run shorter than this before a failure counts towards a crash loop.
    pub min_run: u32,
    /// Short runs in a row before the service is given up, 0 = never.
    pub max_restarts: u32,
    /// How long it is held after the second short run in a row; doubled with each that follows. 0 = never held.
    pub backoff: u32,
    /// The longest that it is held.
    pub backoff_cap: u32,
    /// When it is given up: 0 = it stops, 1 = the board starts anew.
    pub give_up: u32,
}

/// One entry with its manifest. Unused fields are 0; indices that name nothing are [`NONE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Entry {
    /// Name, unique, zero padded.
    pub name: [u8; 16],
    /// [`Kind`].
    pub kind: u32,
    /// Where method calls enter (object) or the program starts. In `text`, a multiple of 4.
    pub entry_call: u32,
    /// Where hooks enter (object).
    pub entry_hook: u32,
    /// Number of methods; methods have numbers below it.
    pub methods: u32,
    /// Bit m: method m (0-63) is declared read-only.
    pub read_only: u64,
    /// Executable, never writable.
    pub text: Segment,
    /// Constants, never writable.
    pub rodata: Segment,
    /// Data and bss. For a [`Kind::Blob`] the bytes are in this segment (address 0).
    pub data: Segment,
    /// Bytes of heap, a multiple of the page.
    pub heap: u32,
    /// Bytes of each stack, a multiple of the page.
    pub stack: u32,
    /// Bytes of the common region, a multiple of the page.
    pub common: u32,
    /// Entry whose bytes fill the common region at boot.
    pub common_blob: u32,
    /// Pages of each SSR, 0 for a service without sessions' state.
    pub ssr_pages: u32,
    /// Pre-images reserved for the common region and SSRs of more than a page, in pages.
    pub undo_pages: u32,
    /// [`Rights`].
    pub rights: u32,
    /// [`Flags`].
    pub flags: u32,
    /// Processor time of one method call, in ticks of a millisecond; at least 2.
    pub budget: u32,
    /// Processor time of one hook, in ticks.
    pub hook_budget: u32,
    /// Sessions that a service accepts.
    pub max_bindings: u32,
    /// Sessions that a client may hold.
    pub quota_bindings: u32,
    /// Children that a program may have at once.
    pub quota_children: u32,
    /// Priority of its threads, 0 (lowest) to 7.
    pub priority: u32,
    /// Requests of one session that may end with `ServerFault` before the session is revoked.
    pub blame_limit: u32,
    /// Ticks that a blamed client must wait before it may bind again.
    pub blame_backoff: u32,
    /// Bit i: may bind to entry i.
    pub callees: u64,
    /// Bit i: may spawn entry i.
    pub spawns: u64,
    /// Device registers, mapped one after the other from [`layout::MMIO_BASE`].
    pub mmio: [Mmio; MAX_MMIO],
    /// Bit i: `mmio[i]` is mapped for reading only, and written by the kernel ([`crate::dma`]).
    pub checked: u32,
    /// Bytes of the DMA window, a multiple of the page.
    pub dma: u32,
    /// Bit i: page i of it holds descriptors.
    pub dma_tables: u32,
    /// Descriptors at the start of each of these pages.
    pub descriptors: u32,
    /// What may be written to registers; to those without a rule, anything.
    pub registers: [Rule; MAX_RULES],
    /// Address, in the device window, of the register that resets the service's device; 0 = none. The kernel writes it
    /// first of all when the service recovers.
    pub reset_register: u32,
    /// What it writes there.
    pub reset_value: u32,
    /// Bit i: object i is restarted when this one was held or given up and starts again.
    pub dependants: u64,
    /// Interrupts that it owns, [`NONE`] = unused. Line n is event [`crate::Events::line`]`(n)`. Masked until acknowledged.
    pub interrupts: [u32; MAX_LINES],
    /// Interrupts of one line within a tick, before the line stays masked until the next one.
    pub interrupt_rate: u32,
    /// What the supervisor does about it.
    pub policy: Policy,
    /// Instances of a program to start at boot.
    pub autostart: u32,
    /// Argument of the first instance (r0 of the program, r3 of the constructor); the n-th gets `argument` + n.
    pub argument: u32,
}

impl Entry {
    /// Its name, or `"?"` where that is no text.
    pub fn name_str(&self) -> &str {
        crate::call::name_str(&self.name)
    }

    /// Whether it has all of these properties.
    pub fn has(&self, flags: Flags) -> bool {
        Flags::from_bits_truncate(self.flags).contains(flags)
    }

    /// Whether it is granted all of these rights.
    pub fn may(&self, rights: Rights) -> bool {
        Rights::from_bits_truncate(self.rights).contains(rights)
    }
}

/// Why an image was refused. `entry` is the index of the entry at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// Shorter than it says, or not a multiple of the page.
    Truncated,
    /// Does not start with the magic.
    Magic,
    /// Another version of the format.
    Version,
    /// Number or size of entries out of range.
    Entries,
    /// It wants to recover in a way that this version does not know.
    Recovery,
    /// The checksum of header and entries does not hold.
    TableChecksum,
    /// An entry's field is out of range.
    Field {
        /// Index of the entry.
        entry: usize,
        /// Name of the field.
        field: &'static str,
    },
    /// The bytes of a segment do not have their checksum.
    SegmentChecksum {
        /// Index of the entry.
        entry: usize,
        /// Name of the segment.
        segment: &'static str,
    },
}

/// A checked boot image.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    bytes: &'a [u8],
    entries: &'a [Entry],
    recovery: Recovery,
}

impl<'a> Image<'a> {
    /// The entries.
    pub fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// How its objects recover.
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// What fills an entry's common region at boot, padded with zeros to whole pages; the rest is 0.
    pub fn common(&self, entry: &Entry) -> &'a [u8] {
        self.entries.get(entry.common_blob as usize).map_or(&[], |blob| self.segment(&blob.data))
    }

    /// The bytes of a segment, padded with zeros to whole pages as they are in the image.
    pub fn segment(&self, segment: &Segment) -> &'a [u8] {
        let start = segment.offset as usize;
        let length = segment.file_size.next_multiple_of(layout::PAGE) as usize;
        self.bytes.get(start..start + length).unwrap_or(&[])
    }
}

/// The name of an entry in an image that was refused, as far as it can be read.
pub fn name_in(bytes: &[u8], entry: usize) -> &str {
    let start = size_of::<Header>() + entry * size_of::<Entry>();
    let name = bytes.get(start..).and_then(|rest| rest.first_chunk());
    name.map_or("?", crate::call::name_str)
}

/// Fletcher's sum of 64 bits over little-endian words; a partial last word is padded with zeros.
///
/// Finds each single and double flipped bit and each burst of up to 32 bits in regions of up to 16 GiB;
/// three instructions a word. Not a defence against an adversary.
pub fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum = Fletcher::new();
    for word in words {
        sum.add(u32::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        sum.add(u32::from_le_bytes(last));
    }
    sum.value()
}

/// The running state of [`checksum`].
#[derive(Clone, Copy, Debug)]
pub struct Fletcher {
    low: u32,
    high: u32,
}

impl Fletcher {
    /// The sum of nothing.
    pub const fn new() -> Self {
        Fletcher { low: 1, high: 0 }
    }

    /// Adds one word.
    #[inline(always)]
    pub fn add(&mut self, word: u32) {
        self.low = self.low.wrapping_add(word);
        self.high = self.high.wrapping_add(self.low);
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }
}

impl Default for Fletcher {
    fn default() -> Self {
        Self::new()
    }
}

/// The checksum of a table: header with its checksum field 0, then the entries.
pub fn table_checksum(header: &Header, entries: &[u8]) -> u64 {
    let mut header = *header;
    header.checksum = 0;
    checksum(header.as_bytes()) ^ checksum(entries).rotate_left(17)
}
