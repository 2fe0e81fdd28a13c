//! The emulator from within: its public plugin interface, and the functions behind it that forking needs.
//!
//! The public interface (`qemu-plugin.h`, version 1: QEMU 7.2 to 8.x) is linked against. The other functions are found by
//! name at run time ([`Internals::find`]); they are no interface, and their signatures here are those of QEMU 7.2. Whether they
//! do what is expected is not assumed: the host tool compares results with those of the public way before it relies on them.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

/// A translated block, while it is being translated.
#[repr(C)]
pub struct Block {
    opaque: [u8; 0],
}

/// An instruction of a [`Block`].
#[repr(C)]
pub struct Instruction {
    opaque: [u8; 0],
}

/// The processor.
#[repr(C)]
pub struct Processor {
    opaque: [u8; 0],
}

/// Callback at the execution of a block or an instruction: number of the processor, and what was registered.
pub type Executed = unsafe extern "C" fn(c_uint, *mut c_void);

/// `QEMU_PLUGIN_CB_NO_REGS`.
pub const NO_REGISTERS: c_int = 0;

unsafe extern "C" {
    /// Has `callback` called for each block that is translated.
    pub fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, callback: unsafe extern "C" fn(u64, *mut Block));
    /// Instructions of a block.
    pub fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    /// One of them.
    pub fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    /// Its virtual address.
    pub fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
    /// Where it lies in the emulator's own memory.
    pub fn qemu_plugin_insn_haddr(instruction: *const Instruction) -> *mut c_void;
    /// Has `callback` called before the instruction is executed.
    pub fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: *mut Instruction,
        callback: Executed,
        flags: c_int,
        data: *mut c_void,
    );
    /// Has `callback` called before the block is executed.
    pub fn qemu_plugin_register_vcpu_tb_exec_cb(block: *mut Block, callback: Executed, flags: c_int, data: *mut c_void);
}

/// Functions of the emulator that are no public interface.
#[derive(Clone, Copy)]
pub struct Internals {
    /// `qemu_get_cpu(0)`.
    get_cpu: unsafe extern "C" fn(c_int) -> *mut Processor,
    /// `cpu_restore_state(cpu, host_pc, will_exit)`.
    restore_state: unsafe extern "C" fn(*mut Processor, usize, bool) -> bool,
    /// `cpu_loop_exit_noexc(cpu)`.
    exit_loop: unsafe extern "C-unwind" fn(*mut Processor) -> !,
    /// `cpu_io_recompile(cpu, host_pc)`.
    one_instruction: unsafe extern "C-unwind" fn(*mut Processor, usize) -> !,
    /// `arm_cpu_gdb_read_register(cpu, GByteArray *, n)`.
    read_register: unsafe extern "C" fn(*mut Processor, *mut c_void, c_int) -> c_int,
    /// `arm_cpu_gdb_write_register(cpu, bytes, n)`.
    write_register: unsafe extern "C" fn(*mut Processor, *mut u8, c_int) -> c_int,
    /// `cpu_memory_rw_debug(cpu, address, bytes, length, is_write)`.
    memory: unsafe extern "C" fn(*mut Processor, u64, *mut c_void, usize, bool) -> c_int,
    /// `cpu_physical_memory_rw(address, bytes, length, is_write)`.
    physical: unsafe extern "C" fn(u64, *mut c_void, u64, bool),
    lock: unsafe extern "C" fn(*const c_char, c_int),
    unlock: unsafe extern "C" fn(),
    all_idle: unsafe extern "C" fn() -> bool,
    /// `icount_start_warp_timer()`: lets virtual time jump to the next deadline.
    warp: unsafe extern "C" fn(),
    /// `qemu_clock_run_timers(QEMU_CLOCK_VIRTUAL)`.
    run_timers: unsafe extern "C" fn(c_int) -> bool,
    new_array: unsafe extern "C" fn() -> *mut Array,
    free_array: unsafe extern "C" fn(*mut Array, c_int) -> *mut u8,
}

/// GLib's `GByteArray`.
#[repr(C)]
struct Array {
    data: *mut u8,
    length: c_uint,
}

/// `QEMU_CLOCK_VIRTUAL`.
const VIRTUAL: c_int = 1;

/// The address of a function of this process.
fn symbol(name: &CStr) -> Result<*mut c_void, String> {
    // SAFETY: the name ends with a zero.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if address.is_null() { Err(format!("this emulator has no {}", name.to_string_lossy())) } else { Ok(address) }
}

/// The function of this name, as a pointer of the type `F`.
///
/// # Safety
/// `F` is a pointer to a function with the signature of that function.
unsafe fn function<F: Copy>(name: &CStr) -> Result<F, String> {
    let address = symbol(name)?;
    // A function pointer has the size of an address on every host that this runs on.
    assert_eq!(size_of::<F>(), size_of_val(&address));
    // SAFETY: of the caller; the sizes are equal.
    Ok(unsafe { std::mem::transmute_copy(&address) })
}

impl Internals {
    /// Finds them.
    ///
    /// # Errors
    /// Which one this emulator lacks.
    pub fn find() -> Result<Internals, String> {
        // SAFETY: the types of the fields are those of QEMU 7.2 and of GLib. The host tool puts them to the test before results
        // are relied on.
        unsafe {
            Ok(Internals {
                get_cpu: function(c"qemu_get_cpu")?,
                restore_state: function(c"cpu_restore_state")?,
                exit_loop: function(c"cpu_loop_exit_noexc")?,
                one_instruction: function(c"cpu_io_recompile")?,
                read_register: function(c"arm_cpu_gdb_read_register")?,
                write_register: function(c"arm_cpu_gdb_write_register")?,
                memory: function(c"cpu_memory_rw_debug")?,
                physical: function(c"cpu_physical_memory_rw")?,
                lock: function(c"qemu_mutex_lock_iothread_impl")?,
                unlock: function(c"qemu_mutex_unlock_iothread")?,
                all_idle: function(c"all_cpu_threads_idle")?,
                warp: function(c"icount_start_warp_timer")?,
                run_timers: function(c"qemu_clock_run_timers")?,
                new_array: function(c"g_byte_array_new")?,
                free_array: function(c"g_byte_array_free")?,
            })
        }
    }

    fn processor(&self) -> *mut Processor {
        // SAFETY: the board has one processor, and it exists while something runs on it.
        unsafe { (self.get_cpu)(0) }
    }

    /// The register with this number in GDB's order: r0 to r15, 25 = CPSR.
    pub fn register(&self, number: c_int) -> u32 {
        // SAFETY: the array is made, used and freed here; the emulator appends the register's bytes to it.
        unsafe {
            let array = (self.new_array)();
            (self.read_register)(self.processor(), array.cast(), number);
            let mut bytes = [0; 4];
            if (*array).length >= 4 {
                std::ptr::copy_nonoverlapping((*array).data, bytes.as_mut_ptr(), 4);
            }
            (self.free_array)(array, 1);
            u32::from_le_bytes(bytes)
        }
    }

    /// Sets a register.
    pub fn set_register(&self, number: c_int, value: u32) {
        let mut bytes = value.to_le_bytes();
        // SAFETY: four bytes are what the emulator reads for these registers.
        unsafe { (self.write_register)(self.processor(), bytes.as_mut_ptr(), number) };
    }

    /// Reads a word at a virtual address of whoever runs, as a debugger does: rights do not count.
    pub fn word(&self, address: u32) -> Option<u32> {
        let mut bytes = [0u8; 4];
        // SAFETY: four bytes for four bytes.
        let failed = unsafe {
            (self.memory)(self.processor(), u64::from(address), bytes.as_mut_ptr().cast(), bytes.len(), false)
        };
        (failed == 0).then(|| u32::from_le_bytes(bytes))
    }

    /// Writes a word likewise; what was translated from there is translated anew.
    pub fn set_word(&self, address: u32, value: u32) -> bool {
        let mut bytes = value.to_le_bytes();
        // SAFETY: as above.
        let failed = unsafe {
            (self.memory)(self.processor(), u64::from(address), bytes.as_mut_ptr().cast(), bytes.len(), true)
        };
        failed == 0
    }

    /// Writes a word of physical memory; what was translated from there is translated anew.
    pub fn set_physical(&self, address: u32, value: u32) {
        let mut bytes = value.to_le_bytes();
        // SAFETY: as above.
        unsafe { (self.physical)(u64::from(address), bytes.as_mut_ptr().cast(), 4, true) };
    }

    /// Puts the processor's state in order at the beginning of the block that `host_pc` lies in, which is then not executed.
    /// [`Internals::leave`] must follow.
    pub fn rewind(&self, host_pc: usize) {
        // SAFETY: `host_pc` is the return address of a callback that this block's code has called.
        unsafe { (self.restore_state)(self.processor(), host_pc, true) };
    }

    /// Back to the emulator's loop, which goes on with the processor's state as it is.
    pub fn leave(&self) -> ! {
        // SAFETY: called in a callback of the processor's thread, below its loop; no frame in between has anything to drop.
        unsafe { (self.exit_loop)(self.processor()) }
    }

    /// Executes exactly the first instruction of the block that `host_pc` lies in, as a block of its own without callbacks.
    pub fn step(&self, host_pc: usize) -> ! {
        // SAFETY: as for `rewind` and `leave`.
        unsafe { (self.one_instruction)(self.processor(), host_pc) }
    }

    /// Runs `work` while no other thread of the emulator does anything that matters.
    pub fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        // SAFETY: the caller does not hold the lock (callbacks of the processor's thread run without it).
        unsafe { (self.lock)(c"plugin".as_ptr(), 0) };
        let done = work();
        // SAFETY: taken above.
        unsafe { (self.unlock)() };
        done
    }

    /// If the processor sleeps, lets virtual time jump to what it sleeps for. Whether it did sleep.
    ///
    /// The processor is halted a little before its thread has counted the instructions up to there. Were time to jump in between, it would
    /// jump to somewhere else. When that thread sleeps it has counted them: it waits to be woken, or for the lock that is held here.
    pub fn pump(&self) -> bool {
        self.alone(|| {
            // SAFETY: the lock is held, as in the emulator's own main loop, which does the same.
            unsafe {
                let idle = (self.all_idle)() && processor_sleeps();
                if idle {
                    (self.warp)();
                    (self.run_timers)(VIRTUAL);
                }
                idle
            }
        })
    }
}

/// Whether the processor's thread sleeps: in a child it is the one that the process began with.
fn processor_sleeps() -> bool {
    // The state stands behind the name, which is in brackets (proc_pid_stat(5)).
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
}
