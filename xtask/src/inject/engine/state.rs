//! The state of processor and devices: taken from one emulator, given to another.
//!
//! It comes by `xen-save-devices-state`, which writes it to a plain file (the command that reads such a file back ends QEMU 7.2
//! with a failed assertion), and goes by `loadvm`: the receiver has a snapshot in a file of its own, and its content there is replaced
//! before it is loaded. Memory is in neither: it is in files.
//!
//! The format is that of QEMU's migration stream: a header, sections each with its name in front and its number before and behind,
//! and a byte for the end (`docs/devel/migration` in QEMU's manual for developers).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::emulator::Emulator;

/// How a stream begins: its magic number and version.
const HEADER: [u8; 8] = *b"QEVM\0\0\0\x03";
/// First byte of a section that is whole.
const FULL: u8 = 4;
/// First byte behind a section; the section's number follows, as at its beginning.
const FOOTER: u8 = 0x7e;
/// The section that only emulators have that record or replay.
const REPLAY: &[u8] = b"\x06replay";
/// What stands before the count of instructions: a name, a version, and what must be added to get virtual time.
const COUNT: &[u8] = b"timer/icount\0\0\0\x01";
/// Bytes that a receiver has for a state: one cluster of its file.
const ROOM: usize = 0x1_0000;
/// Name of the receiver's snapshot, and of its node.
const NAME: &str = "state";

/// State of processor and devices at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The stream, without the next.
    bytes: Vec<u8>,
    /// The section that only emulators have that record or replay, and where it belongs.
    course: Option<(usize, Vec<u8>)>,
}

impl State {
    /// Takes it. The emulator stands.
    ///
    /// # Errors
    /// If the emulator does not write it, or writes something unexpected.
    pub fn of(emulator: &mut Emulator) -> Result<State> {
        let path = emulator.folder().join("devices");
        emulator.qmp.execute("xen-save-devices-state", json!({ "filename": path, "live": false }))?;
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        State::parse(bytes)
    }

    fn parse(mut bytes: Vec<u8>) -> Result<State> {
        ensure!(bytes.starts_with(&HEADER), "the state of the devices does not begin as expected");
        let length = bytes.len();
        ensure!(length <= ROOM, "the state of the devices has {length} bytes, more than {ROOM}");
        let Some(name) = find(&bytes, REPLAY) else { return Ok(State { bytes, course: None }) };
        // First byte, number, name; footer, number; then the next section.
        let start = name.checked_sub(5).filter(|start| bytes[*start] == FULL);
        let start = start.context("the state of the devices has a section without a beginning")?;
        let mut footer = vec![FOOTER];
        footer.extend_from_slice(&bytes[start + 1..start + 5]);
        footer.push(FULL);
        let length = find(&bytes[start..], &footer).context("the state of the devices has a section without an end")?;
        let course = bytes.drain(start..start + length + footer.len() - 1).collect();
        Ok(State { bytes, course: Some((start, course)) })
    }

    /// The same, with what an emulator that records or replays must know of its course from another state: one that this has developed from.
    pub fn in_course_of(mut self, other: &State) -> State {
        self.course.clone_from(&other.course);
        self
    }

    /// The stream, for an emulator that has a course, or for one that has none.
    fn stream(&self, course: bool) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some((start, section)) = self.course.as_ref().filter(|_| course) {
            bytes.splice(*start..*start, section.iter().copied());
        }
        bytes
    }

    /// Instructions executed since the machine was switched on.
    ///
    /// # Errors
    /// If the state does not say so.
    pub fn instructions(&self) -> Result<u64> {
        let place = find(&self.bytes, COUNT).context("the state of the devices has no count of instructions")?
            + COUNT.len()
            + 8;
        let bytes = self.bytes.get(place..place + 8).context("the state of the devices ends too early")?;
        let bytes = bytes.try_into().context("the state of the devices ends too early")?;
        Ok(u64::from_be_bytes(bytes))
    }
}

/// The first place where these bytes stand.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A snapshot's file, made by one emulator and good for all of the same machine.
pub struct Template {
    bytes: Vec<u8>,
    /// Where the state stands in it.
    place: u64,
}

impl Template {
    /// Has an emulator make it.
    ///
    /// # Errors
    /// If that fails.
    pub fn make(emulator: &mut Emulator) -> Result<Template> {
        let path = emulator.folder().join("template");
        let qmp = &mut emulator.qmp;
        let shared = json!({ "capabilities": [{ "capability": "x-ignore-shared", "state": true }] });
        qmp.execute("migrate-set-capabilities", shared)?;
        qmp.job("blockdev-create", json!({ "options": { "driver": "file", "filename": path, "size": 0 } }))?;
        qmp.execute("blockdev-add", json!({ "driver": "file", "node-name": "file", "filename": path }))?;
        qmp.job("blockdev-create", json!({ "options": { "driver": "qcow2", "file": "file", "size": ROOM } }))?;
        qmp.execute("blockdev-add", json!({ "driver": "qcow2", "node-name": NAME, "file": "file" }))?;
        qmp.command(&format!("savevm {NAME}"))?;
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let clusters = bytes.chunks(ROOM).position(|cluster| cluster.starts_with(&HEADER));
        let place = clusters.context("the emulator's snapshot is not where it was expected")? * ROOM;
        Ok(Template { bytes, place: place as u64 })
    }
}

/// Where an emulator gets states from.
pub struct Slot {
    file: File,
    place: u64,
    /// Whether the emulator goes from one state to another while it records: it must be told each time where in its course it is.
    course: bool,
    /// Whether a state was loaded, and the guest has not gone on since.
    fresh: bool,
}

impl Slot {
    /// Gives one to an emulator that has none.
    ///
    /// # Errors
    /// If the file cannot be written, or the emulator does not take it.
    pub fn new(emulator: &mut Emulator, template: &Template, course: bool) -> Result<Slot> {
        let path = emulator.folder().join("slot");
        std::fs::write(&path, &template.bytes).with_context(|| format!("cannot write {}", path.display()))?;
        let file = json!({ "driver": "file", "filename": path });
        emulator.qmp.execute("blockdev-add", json!({ "driver": "qcow2", "node-name": NAME, "file": file }))?;
        Ok(Slot { file: writable(&path)?, place: template.place, course, fresh: false })
    }

    /// Puts the emulator into a state. Its memory is anything after that: [`super::memory::Ram::become_like`] must follow.
    ///
    /// # Errors
    /// If the file cannot be written, or the emulator does not load it.
    pub fn load(&mut self, emulator: &mut Emulator, state: &State) -> Result<()> {
        if self.fresh {
            // QEMU 7.2 does not survive a second state if the guest has not run between.
            emulator.gdb.step()?;
        }
        self.file
            .write_all_at(&state.stream(self.course), self.place)
            .context("cannot write the state of the devices")?;
        self.fresh = true;
        emulator.qmp.command(&format!("loadvm {NAME}"))
    }

    /// The guest is about to go on.
    pub fn goes_on(&mut self) {
        self.fresh = false;
    }
}

fn writable(path: &Path) -> Result<File> {
    File::options().write(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(number: u8, name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![FULL, 0, 0, 0, number, name.len() as u8];
        bytes.extend(name.bytes());
        bytes.extend(content);
        bytes.extend([FOOTER, 0, 0, 0, number]);
        bytes
    }

    fn stream(sections: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        bytes.extend(sections.concat());
        bytes.push(0);
        bytes
    }

    #[test]
    fn the_section_of_the_course_is_taken_out_and_put_in() {
        let mut clock = b"\x0ctimer/icount\0\0\0\x01".to_vec();
        clock.extend(5u64.to_be_bytes());
        clock.extend(0x1234_5678_9abcu64.to_be_bytes());
        let others = [section(0, "timer", &clock), section(2, "cpu", &[FOOTER, 0, 0, 0, 1])];
        // What looks like a footer in its midst is none: no section follows.
        let own = section(1, "replay", &[1, FOOTER, 0, 0, 0, 1, 7]);
        let with = stream(&[others[0].clone(), own, others[1].clone()]);
        let state = State::parse(with.clone()).expect("a stream");
        assert_eq!(state.instructions().expect("it counts"), 0x1234_5678_9abc);
        assert_eq!((state.stream(false), state.stream(true)), (stream(&others), with.clone()));
        let plain = State::parse(stream(&others)).expect("a stream");
        assert_eq!((plain.stream(false), plain.stream(true)), (stream(&others), stream(&others)));
        assert_eq!(plain.in_course_of(&state).stream(true), with);
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        assert!(State::parse(b"QEVN\0\0\0\x03\0".to_vec()).is_err());
        let mut endless = HEADER.to_vec();
        endless.extend(b"\x04\0\0\0\x01\x06replay");
        assert!(State::parse(endless).is_err());
        let mut large = HEADER.to_vec();
        large.resize(ROOM + 1, 0);
        assert!(State::parse(large).is_err());
        assert!(State::parse(stream(&[])).expect("a stream").instructions().is_err());
    }
}
