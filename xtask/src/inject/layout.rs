//! Where the kernel keeps things: offsets of fields, from its own debug information.
//!
//! The injector looks at the kernel's memory from outside; nothing in the kernel knows of it.

use addr2line::gimli::{
    self, AttributeValue, Dwarf, EndianSlice, LittleEndian, SectionId, UnitOffset, constants as dw,
};
use anyhow::{Context, Result, bail};
use object::{File, Object, ObjectSection, ObjectSymbol};

type Bytes<'f> = EndianSlice<'f, LittleEndian>;
type Unit<'f> = gimli::Unit<Bytes<'f>>;

/// The types of one executable.
pub struct Layout<'f> {
    file: File<'f>,
    dwarf: Dwarf<Bytes<'f>>,
    units: Vec<Unit<'f>>,
}

/// A place in a type: how far from the beginning of what one started with, and what lies there.
#[derive(Clone, Copy)]
pub struct At {
    /// Bytes from the start.
    pub offset: u32,
    /// Bytes of one element, if this is an array.
    pub stride: u32,
    unit: usize,
    kind: UnitOffset,
}

impl<'f> Layout<'f> {
    /// Reads an executable's debug information.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn parse(bytes: &'f [u8]) -> Result<Layout<'f>> {
        let file = File::parse(bytes).context("no executable")?;
        let section = |id: SectionId| -> Result<Bytes<'f>> {
            let data = file.section_by_name(id.name()).map(|section| section.data()).transpose();
            let data = data.with_context(|| format!("section {} lies outside the file", id.name()))?;
            Ok(EndianSlice::new(data.unwrap_or_default(), LittleEndian))
        };
        let dwarf = Dwarf::load(section)?;
        let (mut units, mut headers) = (Vec::new(), dwarf.units());
        while let Some(header) = headers.next().context("damaged debug information")? {
            units.push(dwarf.unit(header).context("damaged debug information")?);
        }
        Ok(Layout { file, dwarf, units })
    }

    /// The address of a symbol; of several that end so (Rust's names are mangled), the only one.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub fn symbol(&self, name: &str) -> Result<u32> {
        let matches = |symbol: &str| {
            let demangled = addr2line::demangle_auto(symbol.into(), Some(gimli::DW_LANG_Rust));
            let plain =
                demangled.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16).map_or(&*demangled, |(path, _)| path);
            plain == name || plain.strip_suffix(name).is_some_and(|head| head.ends_with("::"))
        };
        let mut found: Vec<u64> = self
            .file
            .symbols()
            .filter(|symbol| symbol.is_definition() && symbol.name().is_ok_and(matches))
            .map(|symbol| symbol.address())
            .collect();
        found.dedup();
        match found[..] {
            [address] => Ok(address as u32),
            [] => bail!("the executable has no symbol {name}"),
            _ => bail!("the executable has several symbols {name}"),
        }
    }

    /// The structure of this name that is declared in a module of `krate`.
    ///
    /// # Errors
    /// If there is none.
    pub fn structure(&self, krate: &str, name: &str) -> Result<At> {
        for (number, unit) in self.units.iter().enumerate() {
            let mut path: Vec<Option<String>> = Vec::new();
            let mut entries = unit.entries();
            while let Some(entry) = entries.next_dfs()? {
                path.truncate(entry.depth().max(0) as usize);
                let own = self.name(unit, entry)?;
                let found = entry.tag() == dw::DW_TAG_structure_type
                    && own.as_deref() == Some(name)
                    && path.get(1).and_then(|first| first.as_deref()) == Some(krate);
                if found {
                    return Ok(At { offset: 0, stride: 0, unit: number, kind: entry.offset() });
                }
                path.push(own);
            }
        }
        bail!("the debug information does not describe {krate}'s {name}")
    }

    /// A field of what lies at a place: a name, or for elements of an array `[]` (the first one).
    ///
    /// # Errors
    /// If it has none of that name.
    pub fn field(&self, at: At, name: &str) -> Result<At> {
        let unit = &self.units[at.unit];
        let mut tree = unit.entries_tree(Some(at.kind))?;
        let root = tree.root()?;
        if name == "[]" {
            let kind = self.kind(unit, root.entry())?;
            return Ok(At { offset: at.offset, stride: 0, unit: at.unit, kind });
        }
        let mut children = root.children();
        while let Some(child) = children.next()? {
            let entry = child.entry();
            if entry.tag() == dw::DW_TAG_member && self.name(unit, entry)?.as_deref() == Some(name) {
                let offset =
                    number(entry.attr_value(dw::DW_AT_data_member_location)).context("a field without a place")?;
                let kind = self.kind(unit, entry)?;
                let stride = self.stride(unit, kind)?;
                return Ok(At { offset: at.offset + offset, stride, unit: at.unit, kind });
            }
        }
        bail!("the debug information knows no field {name} there")
    }

    /// [`Layout::field`] of a field and so on: names with dots between them.
    ///
    /// # Errors
    /// See there.
    pub fn path(&self, at: At, path: &str) -> Result<At> {
        path.split('.').try_fold(at, |at, name| self.field(at, name)).with_context(|| format!("looking for {path}"))
    }

    fn size_of(&self, unit: &Unit<'f>, kind: UnitOffset) -> Result<u32> {
        number(unit.entry(kind)?.attr_value(dw::DW_AT_byte_size)).context("a type without a size")
    }

    /// Bytes of an element, if the type is an array; else 0.
    fn stride(&self, unit: &Unit<'f>, kind: UnitOffset) -> Result<u32> {
        let entry = unit.entry(kind)?;
        if entry.tag() != dw::DW_TAG_array_type {
            return Ok(0);
        }
        let element = self.kind(unit, &entry)?;
        self.size_of(unit, element).or(Ok(0))
    }

    fn kind(&self, unit: &Unit<'f>, entry: &gimli::DebuggingInformationEntry<Bytes<'f>>) -> Result<UnitOffset> {
        match entry.attr_value(dw::DW_AT_type) {
            Some(AttributeValue::UnitRef(offset)) => Ok(offset),
            Some(AttributeValue::DebugInfoRef(offset)) => {
                offset.to_unit_offset(&unit.header).context("a type of another unit")
            }
            _ => bail!("a field without a type"),
        }
    }

    fn name(&self, unit: &Unit<'f>, entry: &gimli::DebuggingInformationEntry<Bytes<'f>>) -> Result<Option<String>> {
        let Some(value) = entry.attr_value(dw::DW_AT_name) else { return Ok(None) };
        Ok(Some(self.dwarf.attr_string(unit, value)?.to_string_lossy().into_owned()))
    }
}

fn number(value: Option<AttributeValue<Bytes<'_>>>) -> Option<u32> {
    value?.udata_value().and_then(|number| u32::try_from(number).ok())
}
