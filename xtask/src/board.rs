//! The boards, by name. What is to be known about each stands with the kernel (`kernel/src/board`).

use boards::{BOARDS, USUAL};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

#[cfg(test)]
pub use boards::Loader;
pub use boards::{Board, Emulator, LoaderFile, Place, Staging};

/// The board of whoever names none.
pub const DEFAULT: &Board = boards::CHOSEN;

/// The option `--board`.
#[derive(Args, Clone, Copy)]
pub struct Choice {
    /// Board
    #[arg(long = "board", value_name = "NAME", default_value = USUAL, value_parser = by_name())]
    pub board: &'static Board,
}

impl Default for Choice {
    fn default() -> Self {
        Choice { board: DEFAULT }
    }
}

/// Takes the name of a board from the command line.
pub fn by_name() -> impl TypedValueParser<Value = &'static Board> {
    let names = BOARDS.iter().map(|board| PossibleValue::new(board.name).help(board.about));
    PossibleValuesParser::new(names).map(|name| find(&name).unwrap_or(DEFAULT))
}

/// The board with this name.
pub fn find(name: &str) -> Option<&'static Board> {
    BOARDS.iter().copied().find(|board| board.name == name)
}

/// The names of all boards, for messages.
pub fn names() -> String {
    let names: Vec<_> = BOARDS.iter().map(|board| board.name).collect();
    format!("the boards are {}", names.join(", "))
}
