//! The kernel seen from outside: whose memory lies where, and who is being served at a moment.

use abi::layout::PAGE;
use anyhow::{Context, Result, bail};

use super::layout::Layout;

/// First of the domains that are processes (`kernel::domain::OBJECTS`).
pub const FIRST_PROCESS: u32 = 64;
/// Clients of one workload, at most, with the program that starts them.
const PROCESSES: u32 = 8;
/// Words of a frame that a moment is known by: kind, binding, and the call word of the frame below.
const FRAMES: u32 = 8;
/// The word of a call (r7) among a frame's registers.
const CALL_WORD: u32 = 7 * 4;
/// Bytes from a frame to where its thread's stack pointer rests (`kernel::thread::Thread::rest`).
const REST: u32 = 68;
/// Bindings whose clients are looked up, at most.
const BINDINGS: u32 = 64;

/// Addresses in the kernel's image, which lies at the same virtual and physical addresses.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its instructions.
    pub text: (u32, u32),
    /// Its exception vectors.
    pub vectors: (u32, u32),
    /// The function that begins a recovery: every failure of an object leads there.
    pub recovery: u32,
    /// The word that counts ticks.
    pub tick: u32,
    views: u32,
    locks: (u32, u32),
    threads: (u32, u32),
    frame_size: u32,
    kind: u32,
    binding: u32,
    bindings: u32,
    clients: (u32, u32),
    events: (u32, u32),
}

/// Who is being served by an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// A request of this process (slot) calls this method.
    Request {
        /// Domain of the process at the outer end.
        process: u32,
        /// Method.
        method: u32,
    },
    /// A hook of a session runs.
    Hook {
        /// Number of the hook ([`abi::Hook`]).
        hook: u32,
        /// Domain of the session's client, if a session is open.
        client: Option<u32>,
    },
    /// Nobody is in the object.
    Nobody,
}

impl Kernel {
    /// Reads the kernel's executable.
    ///
    /// # Errors
    /// If it, or its debug information, is not what this expects.
    pub fn read(executable: &[u8]) -> Result<Kernel> {
        let layout = Layout::parse(executable)?;
        let base = layout.symbol("ARCH_KERNEL")?;
        let kernel = layout.structure("kernel", "Kernel")?;
        let vectors = layout.symbol("arch_vectors")?;
        let views = layout.path(kernel, "machine.views")?;
        let domains = layout.path(kernel, "domains")?;
        let lock = layout.path(domains, "[].hot.lock")?;
        let events = layout.path(domains, "[].events")?;
        let threads = layout.path(kernel, "threads")?;
        let frames = layout.path(threads, "[].frames")?;
        if frames.offset != threads.offset {
            bail!("the frames are expected at the beginning of a thread");
        }
        let frame = layout.path(frames, "[]")?;
        let offset = |name: &str| layout.path(frame, name).map(|at| at.offset - frame.offset);
        let bindings = layout.path(kernel, "ssr.bindings")?;
        let client = layout.path(bindings, "[].client")?;
        Ok(Kernel {
            text: (layout.symbol("__kernel_start")?, layout.symbol("__rodata_start")?),
            vectors: (vectors, vectors + 32),
            recovery: layout.symbol("recover::<impl kernel::kernel::Kernel>::start_recovery")?,
            tick: base + layout.path(kernel, "tick")?.offset,
            views: base + views.offset,
            locks: (base + lock.offset, domains.stride),
            threads: (base + threads.offset, threads.stride),
            frame_size: frames.stride,
            kind: offset("kind")?,
            binding: offset("binding")?,
            bindings: base + bindings.offset,
            clients: (base + client.offset, bindings.stride),
            events: (base + events.offset, domains.stride),
        })
    }

    /// Physical address that a domain's own view maps a virtual address to, by its tables in memory.
    pub fn translate(&self, memory: &dyn Fn(u32) -> u32, domain: u32, address: u32) -> Option<u32> {
        let view = memory(self.views + domain * 4);
        let first = memory(view + (address >> 20) * 4);
        // Short descriptors (ARM ARM, B3.5.1): a page table, then a small page.
        if view == 0 || first & 3 != 1 {
            return None;
        }
        let second = memory((first & 0xffff_fc00) + (address >> 12 & 0xff) * 4);
        (second & 2 != 0).then_some(second & !(PAGE - 1) | address & (PAGE - 1))
    }

    /// The word that holds the events that wait for a domain.
    pub fn waiting_events(&self, domain: u32) -> u32 {
        self.events.0 + domain * self.events.1
    }

    /// Words of memory by which [`Kernel::served`] knows who is served by `domain`.
    pub fn context(&self, domain: u32) -> Vec<u32> {
        let mut words = vec![self.locks.0 + domain * self.locks.1];
        for thread in self.known_threads(domain) {
            for frame in 0..FRAMES {
                let frame = self.threads.0 + thread * self.threads.1 + frame * self.frame_size;
                words.extend([frame + self.kind, frame + self.binding, frame + CALL_WORD]);
            }
        }
        words.extend((0..BINDINGS).map(|binding| self.clients.0 + binding * self.clients.1));
        words
    }

    /// Threads that may be in an object: its own, and those of the clients.
    fn known_threads(&self, domain: u32) -> impl Iterator<Item = u32> {
        std::iter::once(domain).chain(FIRST_PROCESS..FIRST_PROCESS + PROCESSES)
    }

    /// Who is being served by `domain`, from the words that stood at [`Kernel::context`].
    ///
    /// # Errors
    /// If there are not as many words.
    pub fn served(&self, domain: u32, words: &[u32]) -> Result<Served> {
        let (lock, rest) = words.split_first().context("no words were read")?;
        let position = lock & !3;
        if position == 0 {
            return Ok(Served::Nobody);
        }
        let Some(offset) = (position - REST).checked_sub(self.threads.0) else { return Ok(Served::Nobody) };
        let (thread, frame) = (offset / self.threads.1, offset % self.threads.1 / self.frame_size);
        let Some(place) = self.known_threads(domain).position(|known| known == thread) else {
            return Ok(Served::Nobody);
        };
        let word = |frame: u32, which: usize| {
            rest.get((place * FRAMES as usize + frame as usize) * 3 + which).copied().context("too few words were read")
        };
        let (kind, binding) = (word(frame, 0)? & 0xff, word(frame, 1)?);
        let client = self.client(domain, binding, rest);
        if thread >= FIRST_PROCESS && kind <= 1 {
            // Frames grow down: the caller's lies behind.
            let call = word((frame + 1).min(FRAMES - 1), 2)?;
            let method = call >> abi::call::METHOD_SHIFT & abi::call::METHOD_MASK;
            return Ok(Served::Request { process: thread, method });
        }
        let hook = kind.saturating_sub(2);
        Ok(Served::Hook { hook, client: if thread >= FIRST_PROCESS { Some(thread) } else { client } })
    }

    /// Domain of a binding's client.
    fn client(&self, domain: u32, binding: u32, rest: &[u32]) -> Option<u32> {
        let number = binding.checked_sub(self.bindings)? / self.clients.1;
        let first = self.known_threads(domain).count() * FRAMES as usize * 3;
        rest.get(first + number as usize).map(|client| client & 0xff)
    }
}
