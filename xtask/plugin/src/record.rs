//! The golden run: which instructions are executed between the marks.

use std::collections::BTreeMap;
use std::ffi::{c_uint, c_void};

use experiment::Recording;

use crate::emulator::{
    Block, NO_REGISTERS, qemu_plugin_insn_haddr, qemu_plugin_insn_vaddr, qemu_plugin_register_vcpu_insn_exec_cb,
    qemu_plugin_tb_get_insn, qemu_plugin_tb_n_insns,
};
use crate::guest::Memory;
use crate::{BEGIN, END, Options, the};

/// What is recorded.
pub struct Recorder {
    options: Options,
    memory: Memory,
    running: bool,
    code: BTreeMap<u32, (u32, u32)>,
    recording: Recording,
}

impl Recorder {
    /// Nothing yet.
    pub fn new(options: Options, memory: Memory) -> Recorder {
        Recorder { options, memory, running: false, code: BTreeMap::new(), recording: Recording::default() }
    }

    /// Registers callbacks for the instructions of a block.
    pub fn translated(&mut self, block: *mut Block) {
        // SAFETY: the block is being translated; so for all calls below.
        let count = unsafe { qemu_plugin_tb_n_insns(block) };
        for index in 0..count {
            // SAFETY: the index is below the number of instructions. What lies at the host address is the instruction.
            let (instruction, address, host) = unsafe {
                let instruction = qemu_plugin_tb_get_insn(block, index);
                (instruction, qemu_plugin_insn_vaddr(instruction) as u32, qemu_plugin_insn_haddr(instruction))
            };
            let Some(physical) = self.memory.physical(host as usize) else { continue };
            let word = self.memory.word(physical);
            self.code.insert(physical, (address, word));
            let mark = match word {
                BEGIN => Some(begin as crate::emulator::Executed),
                END => Some(end as crate::emulator::Executed),
                _ => None,
            };
            // SAFETY: the callbacks have the signature that is asked for; the data is a number.
            unsafe {
                if let Some(mark) = mark {
                    qemu_plugin_register_vcpu_insn_exec_cb(instruction, mark, NO_REGISTERS, std::ptr::null_mut());
                }
                let data = physical as usize as *mut c_void;
                qemu_plugin_register_vcpu_insn_exec_cb(instruction, executed, NO_REGISTERS, data);
            }
        }
    }

    fn finish(&mut self) -> ! {
        let recording = &mut self.recording;
        recording.code = self.code.iter().map(|(physical, (address, word))| (*physical, *address, *word)).collect();
        let status = match postcard::to_stdvec(recording).map(|bytes| std::fs::write(&self.options.out, bytes)) {
            Ok(Ok(())) => 0,
            Ok(Err(error)) => {
                eprintln!("plugin: cannot write {}: {error}", self.options.out);
                1
            }
            Err(error) => {
                eprintln!("plugin: {error}");
                1
            }
        };
        // SAFETY: ends the emulator here and now, with the guest's memory as the last mark found it.
        unsafe { libc::_exit(status) }
    }
}

unsafe extern "C" fn executed(_: c_uint, data: *mut c_void) {
    if let Some(recorder) = the().recorder()
        && recorder.running
    {
        recorder.recording.executed.push(data as usize as u32);
    }
}

unsafe extern "C" fn begin(_: c_uint, _: *mut c_void) {
    if let Some(recorder) = the().recorder() {
        recorder.running = true;
        // Programs end before the run does; their page tables are seen now.
        if let Err(error) = std::fs::copy(&recorder.options.memory, format!("{}.memory", recorder.options.out)) {
            eprintln!("plugin: cannot copy the guest's memory: {error}");
            // SAFETY: ends the emulator here and now.
            unsafe { libc::_exit(1) }
        }
        recorder.recording.console = std::fs::metadata(&recorder.options.console).map_or(0, |file| file.len());
    }
}

unsafe extern "C" fn end(_: c_uint, _: *mut c_void) {
    if let Some(recorder) = the().recorder() {
        recorder.finish();
    }
}
