//! Takes from an executable what the board needs: its segments, and where to enter it.

use std::path::Path;

use abi::layout;
use anyhow::{Context, Result, bail};
use object::read::elf::ElfFile32;
use object::{Object, ObjectSegment, ObjectSymbol, SegmentFlags, elf};

/// Symbols that the runtime of services defines in every protected object. All but the first are numbers.
const HOOK_ENTRY: &str = "__po_hook";
const METHODS: &str = "__po_methods";
const READ_ONLY_LOW: &str = "__po_read_only_low";
const READ_ONLY_HIGH: &str = "__po_read_only_high";
const SSR_PAGES: &str = "__po_ssr_pages";

/// A part of an executable as it lies in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Virtual address, page aligned; 0 for a part that is absent.
    pub address: u32,
    /// Its bytes in the file.
    pub bytes: Vec<u8>,
    /// Bytes in memory; those beyond the file's are 0.
    pub memory_size: u32,
}

/// A service or program, stripped.
#[derive(Clone, Debug)]
pub struct Executable {
    /// Executable segment.
    pub text: Loaded,
    /// Constants.
    pub rodata: Loaded,
    /// Data and bss.
    pub data: Loaded,
    /// Where calls, or a program, enter.
    pub entry: u32,
    /// Where hooks enter; `None` for a program.
    pub hook: Option<u32>,
    /// Number of methods.
    pub methods: u32,
    /// Methods declared read-only.
    pub read_only: u64,
    /// Pages that its state takes in each SSR.
    pub ssr_pages: u32,
}

/// The kernel, flat.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its bytes from the load address to where the boot image follows.
    pub bytes: Vec<u8>,
}

impl Executable {
    /// Reads the executable of a service (`service`) or a program.
    ///
    /// # Errors
    /// If it is no executable for the board, or its segments do not fit the address space of a domain.
    pub fn read(path: &Path, service: bool) -> Result<Executable> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Executable::parse(&bytes, service).with_context(|| format!("{} cannot be packed", path.display()))
    }

    /// As [`Executable::read`], from memory.
    pub fn parse(bytes: &[u8], service: bool) -> Result<Executable> {
        let file = parse(bytes)?;
        let (mut text, mut rodata, mut data) = (None, None, None);
        for (segment, flags) in loaded(&file)? {
            let (slot, name) = match (flags.contains(elf::PF_W), flags.contains(elf::PF_X)) {
                (true, true) => bail!("a segment at {:#010x} is writable and executable", segment.address),
                (false, true) => (&mut text, "executable"),
                (true, false) => (&mut data, "writable"),
                (false, false) => (&mut rodata, "constant"),
            };
            if !segment.address.is_multiple_of(layout::PAGE) {
                bail!("the {name} segment at {:#010x} does not begin on a page", segment.address);
            }
            let end = u64::from(segment.address) + u64::from(segment.memory_size);
            if segment.address < layout::IMAGE_BASE || end > u64::from(layout::IMAGE_END) {
                bail!("the {name} segment ({:#010x} to {end:#010x}) lies outside the room for images", segment.address);
            }
            if slot.replace(segment).is_some() {
                bail!("more than one {name} segment: the linker script should make one of them");
            }
        }
        let text = text.context("no executable segment")?;
        let entry = u32::try_from(file.entry()).context("entry beyond 32 bits")?;
        let mut executable = Executable {
            text,
            rodata: rodata.unwrap_or_default(),
            data: data.unwrap_or_default(),
            entry,
            hook: None,
            methods: 0,
            read_only: 0,
            ssr_pages: 0,
        };
        if service {
            let number =
                |name| symbol(&file, name).with_context(|| format!("it is no service: the symbol {name} is missing"));
            executable.hook = Some(number(HOOK_ENTRY)?);
            executable.methods = number(METHODS)?;
            executable.read_only = u64::from(number(READ_ONLY_HIGH)?) << 32 | u64::from(number(READ_ONLY_LOW)?);
            executable.ssr_pages = number(SSR_PAGES)?;
        }
        Ok(executable)
    }

    /// Its segments with their names.
    pub fn segments(&self) -> [(&'static str, &Loaded); 3] {
        [("text", &self.text), ("rodata", &self.rodata), ("data", &self.data)]
    }
}

impl Kernel {
    /// Reads the kernel's executable.
    ///
    /// # Errors
    /// If it is no executable for the board or does not begin at `load_address`.
    pub fn read(path: &Path, load_address: u32) -> Result<Kernel> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Kernel::parse(&bytes, load_address).with_context(|| format!("{} cannot be packed", path.display()))
    }

    fn parse(bytes: &[u8], load_address: u32) -> Result<Kernel> {
        let file = parse(bytes)?;
        let end = symbol(&file, "__image_start").context("no symbol __image_start: where does the boot image go?")?;
        let length = end
            .checked_sub(load_address)
            .with_context(|| format!("it ends at {end:#010x}, below {load_address:#010x}"))?;
        if u32::try_from(file.entry()).ok() != Some(load_address) {
            bail!("its entry is {:#010x}, but a flat binary is entered at {load_address:#010x}", file.entry());
        }
        let mut flat = vec![0; length as usize];
        for (segment, _) in loaded(&file)? {
            let start = segment.address.checked_sub(load_address).map(|start| start as usize);
            let room = start.and_then(|start| flat.get_mut(start..start + segment.bytes.len()));
            let room =
                room.with_context(|| format!("a segment at {:#010x} lies outside the kernel", segment.address))?;
            room.copy_from_slice(&segment.bytes);
        }
        Ok(Kernel { bytes: flat })
    }
}

fn parse(bytes: &[u8]) -> Result<ElfFile32<'_>> {
    let file: ElfFile32<'_> = ElfFile32::parse(bytes).context("not an ELF file of 32 bits")?;
    if file.architecture() != object::Architecture::Arm || file.kind() != object::ObjectKind::Executable {
        bail!("not an executable for ARM");
    }
    Ok(file)
}

/// The loadable segments of some length, with their flags.
fn loaded(file: &ElfFile32<'_>) -> Result<Vec<(Loaded, elf::ProgramFlags)>> {
    let mut all = Vec::new();
    for segment in file.segments().filter(|segment| segment.size() > 0) {
        let SegmentFlags::Elf { p_flags, .. } = segment.flags() else { continue };
        let address = u32::try_from(segment.address()).context("segment beyond 32 bits")?;
        let memory_size = u32::try_from(segment.size()).context("segment beyond 32 bits")?;
        let bytes = segment.data().context("a segment lies outside the file")?.to_vec();
        all.push((Loaded { address, bytes, memory_size }, p_flags));
    }
    Ok(all)
}

fn symbol(file: &ElfFile32<'_>, name: &str) -> Option<u32> {
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name))?;
    u32::try_from(symbol.address()).ok()
}
