// The build script of every service and program includes this file (README.md of rt).
// It links the package's binary for the target with service.ld, and with an identity for opaque states.

fn main() {
    let package = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let script = package
        .ancestors()
        .map(|folder| folder.join("rt/service.ld"))
        .find(|path| path.is_file())
        .expect("a service or program lies in the folder that holds rt, or deeper");
    println!("cargo:rerun-if-changed={}", script.display());
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        println!("cargo:rustc-link-arg-bins=-T{}", script.display());
        println!("cargo:rustc-link-arg-bins=--build-id=sha1");
        println!("cargo:rustc-link-arg-bins=-zmax-page-size=4096");
    }
}
