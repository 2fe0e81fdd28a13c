//! What runs inside the emulator during a campaign, as a plugin of its code generator.
//!
//! Two modes. `record` uses the public plugin interface alone: it writes down every instruction of the golden run. `fork` carries out
//! experiments: at each point it forks the emulator, and injects the fault in the child, which runs on to the end; the parent goes on along
//! the golden run. So no boot, and no instruction before the fault, is ever executed twice, and every child begins with all code
//! translated. That needs functions of the emulator that are no public interface ([`emulator::Internals`]).
//!
//! **Architecture invariant:** counting by callbacks never changes what the guest does: virtual time follows the guest's own
//! instructions, and interrupts come where they came without the plugin.

mod emulator;
mod forks;
mod guest;
mod record;

use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int};
use std::sync::Once;

use emulator::{Block, qemu_plugin_register_vcpu_tb_trans_cb};
use forks::Forks;
use guest::Memory;
use record::Recorder;

/// `dbg #7`: the workload begins (`trial::mark`).
const BEGIN: u32 = 0xe320_f0f7;
/// `dbg #8`: it has come to its end.
const END: u32 = 0xe320_f0f8;

/// The version of the plugin interface that this is for.
#[unsafe(no_mangle)]
#[used]
static qemu_plugin_version: c_int = 1;

/// What the command line says: `mode`, and paths.
#[derive(Clone, Debug, Default)]
struct Options {
    /// `record` or `fork`.
    mode: String,
    /// File that holds the guest's memory.
    memory: String,
    /// Physical address of its first byte.
    base: u32,
    /// File that the console writes to.
    console: String,
    /// `record`: file for the recording. `fork`: folder for the observations.
    out: String,
    /// `fork`: file with the job.
    job: String,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let mut known: BTreeMap<&str, &str> = arguments.iter().filter_map(|text| text.split_once('=')).collect();
        let mut take = |name: &str| known.remove(name).unwrap_or_default().to_owned();
        let base = take("base");
        let base = base.parse().map_err(|_| format!("base={base} is no address"))?;
        let options = Options {
            mode: take("mode"),
            memory: take("memory"),
            base,
            console: take("console"),
            out: take("out"),
            job: take("job"),
        };
        if options.memory.is_empty() || options.out.is_empty() {
            return Err("memory= and out= are needed".into());
        }
        Ok(options)
    }
}

/// What this plugin does.
enum Work {
    /// Nothing yet: the guest's memory is not there before the first instruction is translated.
    Waiting(Options),
    Recording(Box<Recorder>),
    Forking(Box<Forks>),
}

/// The one plugin of this process.
struct Plugin(UnsafeCell<Option<Work>>);

// SAFETY: the emulator runs the one processor of the board on one thread, and all callbacks come from there; `qemu_plugin_install` is
// called before that thread exists. The thread that `Forks` starts in a child has copies of what it needs.
unsafe impl Sync for Plugin {}

static PLUGIN: Plugin = Plugin(UnsafeCell::new(None));
static READY: Once = Once::new();

/// The plugin, for a callback.
#[allow(clippy::mut_from_ref, reason = "callbacks do not nest, and come from one thread: see Plugin")]
fn the() -> &'static mut Work {
    // SAFETY: see `Plugin`; no callback calls another one, and none keeps the reference beyond its return.
    match unsafe { &mut *PLUGIN.0.get() } {
        Some(work) => work,
        None => fail("a callback came before the plugin was installed"),
    }
}

impl Work {
    fn recorder(&mut self) -> Option<&mut Recorder> {
        if let Work::Recording(recorder) = self { Some(recorder) } else { None }
    }

    fn forks(&mut self) -> Option<&mut Forks> {
        if let Work::Forking(forks) = self { Some(forks) } else { None }
    }

    /// Finds the guest's memory and begins.
    fn start(&mut self) {
        let Work::Waiting(options) = self else { return };
        let options = options.clone();
        let Some(memory) = Memory::find(&options.memory, options.base) else {
            fail(&format!("the guest's memory is not the file {}", options.memory));
        };
        *self = match options.mode.as_str() {
            "record" => Work::Recording(Box::new(Recorder::new(options, memory))),
            "fork" => match Forks::new(options, memory) {
                Ok(forks) => Work::Forking(Box::new(forks)),
                Err(error) => fail(&error),
            },
            mode => fail(&format!("mode={mode} is neither record nor fork")),
        };
    }
}

/// Ends the emulator: the host tool shows what this says.
fn fail(why: &str) -> ! {
    eprintln!("plugin: {why}");
    std::process::exit(3)
}

unsafe extern "C" fn translated(_: u64, block: *mut Block) {
    READY.call_once(|| the().start());
    match the() {
        Work::Recording(recorder) => recorder.translated(block),
        Work::Forking(forks) => forks.translated(block),
        Work::Waiting(_) => {}
    }
}

/// Called by the emulator when it loads the plugin.
///
/// # Safety
/// `count` strings at `arguments`, as the plugin interface says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _info: *const std::ffi::c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    let words: Vec<&str> = (0..usize::try_from(count).unwrap_or(0))
        // SAFETY: of the caller: so many strings, each ending with a zero.
        .filter_map(|index| unsafe { CStr::from_ptr(*arguments.add(index)) }.to_str().ok())
        .collect();
    match Options::parse(&words) {
        Ok(options) => {
            // SAFETY: no callback is registered yet, so nobody else has a reference.
            unsafe { *PLUGIN.0.get() = Some(Work::Waiting(options)) };
            // SAFETY: the function has the signature that is asked for, and lives as long as the process.
            unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
            0
        }
        Err(error) => {
            eprintln!("plugin: {error}");
            1
        }
    }
}
