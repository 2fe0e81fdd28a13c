//! Links the binary as rt/link.rs says.
include!("../rt/link.rs");
