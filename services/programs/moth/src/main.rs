//! `moth`: does one small thing, and is gone.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

use moth::{HEARD, NAME, ROUNDS, Role, TOLD, WRONG};
use rt::{CallError, Error, Events, sys};
use victim::{ALWAYS, Attack, Peer, Strike, VictimClient, VictimError};

/// The session's event, and one that nobody sets.
const TOLD_BIT: Events = Events::from_bits_truncate(1);
const NEVER: Events = Events::from_bits_truncate(1 << 9);

type Failure = CallError<VictimError>;

fn flutter(argument: u32) -> u32 {
    let Some((role, parameter)) = Role::from_argument(argument) else { return WRONG };
    act(role, parameter).unwrap_or(WRONG + 1)
}

fn act(role: Role, parameter: u32) -> Result<u32, Failure> {
    let bind = |service| VictimClient::bind_to(service).map_err(CallError::Kernel);
    match role {
        Role::Exit => Ok(parameter),
        Role::Leave => {
            core::mem::forget(bind("victim")?);
            sys::exit(parameter)
        }
        Role::Spin => loop {
            core::hint::black_box(());
        },
        Role::Yield => loop {
            sys::yield_now().map_err(CallError::Kernel)?;
        },
        Role::Wait => {
            let _session = VictimClient::bind_notified(TOLD_BIT).map_err(CallError::Kernel)?;
            sys::wait_events(NEVER, 0).map_err(CallError::Kernel)?;
            Ok(WRONG)
        }
        Role::Hold => bind("victim")?.wait(NEVER.bits(), parameter, 0).map(|_| 0),
        Role::Nest => {
            let strike = Strike::before(Attack::Wait).at_next();
            bind("relay")?.pass(Peer::route(&[Peer::Victim]), 1, strike, parameter, ALWAYS).map(|_| 0)
        }
        Role::Call => {
            let victim = bind("victim")?;
            loop {
                victim.add(1)?;
                sys::yield_now().map_err(CallError::Kernel)?;
            }
        }
        Role::Part => loop {
            let victim = bind("victim")?;
            sys::yield_now().map_err(CallError::Kernel)?;
            victim.unbind().map_err(CallError::Kernel)?;
        },
        Role::Crash => bind("victim")?.attack(Attack::Panic, 0, parameter + 1).map(|_| 0),
        Role::Tell => bind("victim")?.tell(0, TOLD, Attack::Wait, parameter, ALWAYS).map(|(told, _)| told),
        Role::TellNested => {
            let strike = Strike::before(Attack::Tell).at_next();
            bind("relay")?.pass(Peer::route(&[Peer::Victim]), 1, strike, parameter, ALWAYS).map(|(.., code)| code)
        }
        Role::Chain => {
            if parameter > 0 {
                sys::spawn(NAME, Role::Chain.with(parameter - 1)).map_err(CallError::Kernel)?;
            }
            Ok(0)
        }
        Role::Swarm => Ok((0..=TOLD).take_while(|_| sys::spawn(NAME, Role::Await.with(0)).is_ok()).count() as u32),
        Role::Await => {
            let _session = VictimClient::bind_notified(TOLD_BIT).map_err(CallError::Kernel)?;
            sys::wait_events(TOLD_BIT, 0).map(|_| 0).map_err(CallError::Kernel)
        }
        Role::Rights => {
            let right = sys::pause(1) == Err(Error::NotPermitted)
                && sys::wait_events(NEVER, 1) == Err(Error::NotPermitted)
                && sys::wait_events(Events::empty(), 0) == Err(Error::BadArgument);
            Ok(if right { 0 } else { WRONG })
        }
        Role::Relay => bind("relay")?.wait(HEARD, parameter, ROUNDS).map(|(events, code)| events | code),
    }
}

rt::program!(flutter);
