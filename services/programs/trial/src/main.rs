//! `trial`: lets clients work with a service while faults are injected into it.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
rt::program!(main);

#[cfg(target_os = "none")]
fn main(_argument: u32) -> u32 {
    let _ = rt::sys::shutdown(0);
    1
}

#[cfg(not(target_os = "none"))]
fn main() {
    println!("trial runs on the target: cargo xtask inject");
}
