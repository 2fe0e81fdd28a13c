//! Tables of what is tried: names, arguments, and what must come of it.

use rt::Error;
use rt::abi::FailureKind;
use rt::abi::layout::{COMMON_BASE, HEAP_BASE, IMAGE_BASE, IMAGE_END, MMIO_BASE, PAGE, SSR_BASE, STACK_TOP, USER_END};

use crate::{Attack, COMMON, HEAP, STACK};

pub use crate::instructions::{IGNORED, INSTRUCTIONS, UNALIGNED};

/// First address of the kernel: its text, from the vectors on.
pub const KERNEL_TEXT: u32 = 0x4001_0000;
/// The kernel's data, in the megabyte behind its text.
pub const KERNEL_DATA: u32 = 0x4010_0000;
/// First and last megabyte of memory.
pub const RAM: (u32, u32) = (0x4000_0000, 0x4800_0000);
/// Own memory that nothing else uses: the far end of the stack.
pub const OWN: u32 = STACK_TOP - STACK;
/// What [`crate::harm::Probe::Private`] finds in a service that was just built.
pub const BUILT: u32 = 1000;
/// Bytes that the tests lend for reading, and as many for writing, where [`COPIES`] are tried.
pub const LENT: u32 = 64;

/// Whom a case makes sense for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Services and programs.
    Both,
    /// Services only.
    Service,
}

/// Something wrong to do, and what the kernel must take it for.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What is done; empty where `name` says it all.
    pub verb: &'static str,
    /// Name of the case, or to what it is done.
    pub name: &'static str,
    /// What to do.
    pub attack: Attack,
    /// Its argument.
    pub argument: u32,
    /// The failure that it is.
    pub kind: FailureKind,
    /// Whom it makes sense for.
    pub who: Who,
}

const fn both(name: &'static str, attack: Attack, argument: u32, kind: FailureKind) -> Case {
    Case { verb: "", name, attack, argument, kind, who: Who::Both }
}

const fn service(name: &'static str, attack: Attack, argument: u32, kind: FailureKind) -> Case {
    Case { who: Who::Service, ..both(name, attack, argument, kind) }
}

impl Case {
    /// The address that the failure must be reported with, where that is known.
    pub fn address(&self) -> Option<u32> {
        matches!(self.attack, Attack::Load | Attack::Store | Attack::Execute).then_some(self.argument)
    }
}

impl core::fmt::Display for Case {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}{}", self.verb, self.name)
    }
}

/// All cases, in a fixed order: the number of one is its position.
pub fn all() -> impl Iterator<Item = Case> {
    let place = |verb, attack, kind| {
        move |&(name, argument): &(&'static str, u32)| Case { verb, ..both(name, attack, argument, kind) }
    };
    let numbered = |verb, attack, kind| {
        move |(number, name): (usize, &&'static str)| Case { verb, ..both(name, attack, number as u32, kind) }
    };
    (PLACES.iter().map(place("load from ", Attack::Load, FailureKind::DataAbort)))
        .chain(PLACES.iter().map(place("store to ", Attack::Store, FailureKind::DataAbort)))
        .chain(TARGETS.iter().map(place("jump to ", Attack::Execute, FailureKind::PrefetchAbort)))
        .chain(UNALIGNED.iter().enumerate().map(numbered("unaligned ", Attack::Unaligned, FailureKind::Alignment)))
        .chain(INSTRUCTIONS.iter().enumerate().map(numbered(
            "instruction ",
            Attack::Instruction,
            FailureKind::Undefined,
        )))
        .chain(CASES.iter().copied())
}

/// Places in the address space that are neither a service's nor a program's to load from or to store to.
pub const PLACES: &[(&str, u32)] = &[
    ("page 0", 0),
    ("the end of page 0", PAGE - 4),
    ("below the image", IMAGE_BASE - 4),
    ("the end of the room for the image", IMAGE_END - 4),
    ("behind the heap", HEAP_BASE + HEAP),
    ("far below the stack", STACK_TOP - STACK - 0x9000),
    ("above the stack", STACK_TOP),
    ("behind the common region", COMMON_BASE + COMMON),
    ("the page after the own SSR", SSR_BASE + PAGE * 8),
    ("the end of the window of the SSR", MMIO_BASE - 4),
    ("the window for devices", MMIO_BASE),
    ("the end of user space", USER_END - 4),
    ("behind user space", USER_END),
    ("the interrupt distributor", 0x0800_0000),
    ("the interrupt controller's CPU interface", 0x0801_0000),
    ("the UART", 0x0900_0000),
    ("the clock", 0x0901_0000),
    ("a virtio transport", 0x0a00_0000),
    ("the vectors' old place", 0),
    ("kernel text", KERNEL_TEXT),
    ("kernel data", KERNEL_DATA),
    ("the boot image", 0x4030_0000),
    ("a page frame", 0x4200_0000),
    ("the last page frame", 0x47ff_fffc),
    ("the high vectors", 0xffff_0000),
    ("the end of the address space", 0xffff_fffc),
];

/// Places to jump to.
pub const TARGETS: &[(&str, u32)] = &[
    ("page 0", 0),
    ("unmapped memory", IMAGE_END - 4),
    ("the stack's guard page", STACK_TOP - STACK - 4),
    ("the UART", 0x0900_0000),
    ("the kernel's vectors", KERNEL_TEXT + 0x20),
    ("kernel text", KERNEL_TEXT),
    ("kernel data", KERNEL_DATA),
    ("the high vectors", 0xffff_0008),
];

/// Other things to do wrong.
pub const CASES: &[Case] = &[
    both("store to own text", Attack::StoreOwn, 0, FailureKind::DataAbort),
    both("store to own constants", Attack::StoreOwn, 1, FailureKind::DataAbort),
    both("execute own data", Attack::ExecuteOwn, 0, FailureKind::PrefetchAbort),
    both("execute own heap", Attack::ExecuteOwn, 1, FailureKind::PrefetchAbort),
    both("execute own stack", Attack::ExecuteOwn, 2, FailureKind::PrefetchAbort),
    service("execute own SSR", Attack::ExecuteOwn, 3, FailureKind::PrefetchAbort),
    service("execute own common region", Attack::ExecuteOwn, 4, FailureKind::PrefetchAbort),
    both("execute own constants", Attack::ExecuteOwn, 5, FailureKind::PrefetchAbort),
    both("store to the kernel after cps", Attack::StoreAsIfPrivileged, KERNEL_DATA, FailureKind::DataAbort),
    both("breakpoint", Attack::Breakpoint, 0, FailureKind::Debug),
    both("panic", Attack::Panic, 0, FailureKind::Panic),
    both("panic with a message in page 0", Attack::PanicAt, 0, FailureKind::Panic),
    both("panic with a message in the kernel", Attack::PanicAt, KERNEL_DATA, FailureKind::Panic),
    both("panic with a message that wraps round", Attack::PanicAt, 0xffff_fff0, FailureKind::Panic),
    service("heap used up", Attack::ExhaustHeap, 0, FailureKind::HeapExhausted),
    both("kernel call HeapExhausted", Attack::Call, 20, FailureKind::HeapExhausted),
    both("recursion without end", Attack::Recurse, 0, FailureKind::StackOverflow),
    both("store just below the stack", Attack::Store, STACK_TOP - STACK - 4, FailureKind::StackOverflow),
    both("push with sp in the kernel", Attack::PushAt, KERNEL_DATA, FailureKind::DataAbort),
    both("push with sp at 0", Attack::PushAt, 0, FailureKind::DataAbort),
    service("empty endless loop", Attack::Spin, 0, FailureKind::Budget),
    service("endless loop of kernel calls", Attack::Spin, 1, FailureKind::Budget),
    service("endless loop of copies", Attack::Spin, 2, FailureKind::Budget),
    service("endless loop with interrupts off", Attack::Spin, 3, FailureKind::Budget),
    service("endless loop of wfi", Attack::Spin, 4, FailureKind::Budget),
    service("kernel call Yield", Attack::Call, 4, FailureKind::ForbiddenCall),
    service("kernel call Exit", Attack::Call, 10, FailureKind::ForbiddenCall),
    service("kernel call Spawn", Attack::Call, 11, FailureKind::ForbiddenCall),
    service("kernel call Wait", Attack::Call, 12, FailureKind::ForbiddenCall),
    service("kernel call Kill", Attack::Call, 13, FailureKind::ForbiddenCall),
    service("kernel call Deadline", Attack::Call, 21, FailureKind::ForbiddenCall),
    service("kernel call Control", Attack::Call, 24, FailureKind::ForbiddenCall),
    service("kernel call Time", Attack::Call, 15, FailureKind::ForbiddenCall),
    service("kernel call Info", Attack::Call, 16, FailureKind::ForbiddenCall),
    service("kernel call Sabotage", Attack::Call, 17, FailureKind::ForbiddenCall),
    service("kernel call Shutdown", Attack::Call, 18, FailureKind::ForbiddenCall),
    service("kernel call Log", Attack::Call, 19, FailureKind::ForbiddenCall),
    service("kernel call 21", Attack::Call, 21, FailureKind::ForbiddenCall),
    service("kernel call 255", Attack::Call, 255, FailureKind::ForbiddenCall),
    service("SSR header: magic 0", Attack::Magic, 0, FailureKind::SsrDamaged),
    service("SSR header: magic off by a bit", Attack::Magic, rt::abi::ssr::MAGIC ^ 1 << 17, FailureKind::SsrDamaged),
    service("SSR header: used 0", Attack::Used, 0, FailureKind::SsrDamaged),
    service("SSR header: used below the header", Attack::Used, 15, FailureKind::SsrDamaged),
    service("SSR header: used behind the largest SSR", Attack::Used, 0x8001, FailureKind::SsrDamaged),
    service("SSR header: used 2 GiB", Attack::Used, 1 << 31, FailureKind::SsrDamaged),
    service("SSR header: used 4 GiB - 1", Attack::Used, u32::MAX, FailureKind::SsrDamaged),
    service("SSR header: session of another client", Attack::Session, 0, FailureKind::SsrDamaged),
    service("SSR header: session -1", Attack::Session, u32::MAX, FailureKind::SsrDamaged),
];

/// Services by number, for binding: what the manifest of the one who tries does not name.
pub const NAMES: &[&str] = &["ledger", "victim", "no-such-service", "suite", ""];

/// A copy between the own memory and what was lent ([`LENT`] bytes each way), and the code that it must end with.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// Name of the case.
    pub name: &'static str,
    /// From the own memory to what was lent for writing.
    pub out: bool,
    /// Offset in what was lent.
    pub offset: u32,
    /// Address in the own memory.
    pub own: u32,
    /// Bytes.
    pub length: u32,
    /// r0 afterwards.
    pub code: u32,
}

const FINE: u32 = 0;
const RANGE: u32 = Error::BadRange as u32;

const fn copy_in(name: &'static str, offset: u32, own: u32, length: u32, code: u32) -> Copy {
    Copy { name, out: false, offset, own, length, code }
}

const fn copy_out(name: &'static str, offset: u32, own: u32, length: u32, code: u32) -> Copy {
    Copy { name, out: true, offset, own, length, code }
}

/// Copies, most of them wild.
pub const COPIES: &[Copy] = &[
    copy_in("all that was lent", 0, OWN, LENT, FINE),
    copy_in("nothing at the end", LENT, OWN, 0, FINE),
    copy_in("nothing behind the end", LENT + 1, OWN, 0, RANGE),
    copy_in("a byte too many", 0, OWN, LENT + 1, RANGE),
    copy_in("offset + length wraps round", u32::MAX, OWN, 1, RANGE),
    copy_in("offset + length wraps round to a fit", 1, OWN, u32::MAX, RANGE),
    copy_in("own + length wraps round", 0, 0xffff_fffc, 8, RANGE),
    copy_in("to page 0", 0, 0, 4, RANGE),
    copy_in("to own text", 0, IMAGE_BASE, 4, RANGE),
    copy_in("to the guard page", 0, OWN - 4, 4, RANGE),
    copy_in("over the end of the stack", 0, STACK_TOP - 4, 8, RANGE),
    copy_in("behind the own SSR", 0, SSR_BASE + 8 * PAGE, 4, RANGE),
    copy_in("to the end of user space", 0, USER_END - 4, 8, RANGE),
    copy_in("to a device", 0, 0x0900_0000, 4, RANGE),
    copy_in("to the kernel", 0, KERNEL_DATA, LENT, RANGE),
    copy_in("to a page frame", 0, 0x4200_0000, LENT, RANGE),
    copy_out("all that was lent", 0, OWN, LENT, FINE),
    copy_out("from own text", 0, IMAGE_BASE, LENT, FINE),
    copy_out("nothing behind the end", LENT + 1, OWN, 0, RANGE),
    copy_out("a byte too many", 1, OWN, LENT, RANGE),
    copy_out("offset + length wraps round", u32::MAX - 1, OWN, 2, RANGE),
    copy_out("from page 0", 0, 0, 4, RANGE),
    copy_out("from the guard page", 0, OWN - 4, 8, RANGE),
    copy_out("from behind the own SSR", 0, SSR_BASE + 8 * PAGE, 4, RANGE),
    copy_out("from a device", 0, 0x0900_0000, 4, RANGE),
    copy_out("from the kernel's text", 0, KERNEL_TEXT, LENT, RANGE),
    copy_out("from the kernel's data", 0, KERNEL_DATA, LENT, RANGE),
    copy_out("own + length wraps round", 0, 0xffff_fff0, LENT, RANGE),
];
