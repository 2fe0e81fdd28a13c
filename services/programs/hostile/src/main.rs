//! `hostile`: a client that tries what it must not.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
mod calls;
#[cfg(target_os = "none")]
mod guest;
#[cfg(target_os = "none")]
mod random;
#[cfg(target_os = "none")]
mod ranges;

#[cfg(target_os = "none")]
fn main(argument: u32) -> u32 {
    use hostile::{NO_ROLE, Role};

    let Some((role, parameter)) = Role::from_argument(argument) else { return NO_ROLE };
    let result = match role {
        Role::Guest => guest::guest(parameter),
        Role::Case => guest::case(parameter),
        Role::Ranges => ranges::ranges(),
        Role::Handles => calls::handles(parameter),
        Role::Calls => calls::without_right(),
        Role::Processes => calls::processes(parameter),
        Role::Random => random::calls(parameter),
        Role::Quota => guest::quota(),
        Role::Newcomer => guest::newcomer(parameter),
        Role::Rival => guest::rival(parameter),
        Role::Crasher => guest::crasher(),
        Role::Deserter => guest::deserter(),
        Role::Contender => guest::contender(parameter),
        Role::Counter => guest::counter(),
        Role::Observer => guest::observer(),
        Role::Waiter => guest::waiter(),
        Role::NestedWaiter => guest::nested_waiter(),
        Role::Fresh => guest::fresh(),
        Role::Registers => calls::registers(),
    };
    match result {
        Ok(()) => 0,
        Err(Line(line)) => line,
    }
}

/// The line of a check that failed. Lines of different files differ in their thousands.
#[cfg(target_os = "none")]
struct Line(u32);

/// The base of this file's lines.
#[cfg(target_os = "none")]
type Checked = Result<(), Line>;

/// Ends the role with the line unless the condition holds.
#[cfg(target_os = "none")]
macro_rules! ensure {
    ($condition:expr) => {
        if !$condition {
            return Err($crate::Line(FILE + line!()));
        }
    };
}
#[cfg(target_os = "none")]
use ensure;

#[cfg(target_os = "none")]
rt::program!(main);

#[cfg(not(target_os = "none"))]
fn main() {
    rt::nothing_to_run::<()>();
}
