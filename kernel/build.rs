//! Passes the linker script and the load address of the board.

fn main() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../linker.ld");
    println!("cargo:rerun-if-changed={root}");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo:rustc-link-arg-bins=-T{root}");
        println!("cargo:rustc-link-arg-bins=--defsym=__load_address=0x40010000");
    }
}
