//! The shell's sessions: opened by the first command that needs one, forgotten when they are lost.

use core::fmt::Write;

use console::Output;
use fs::FsClient;
use net::NetClient;
use rt::{CallError, Error, Events};
use scheduler::SchedulerClient;
use store::{Notice, Subscriber};
use supervisor::SupervisorClient;
use timer::Alarms;

use crate::command::Failure;

/// An alarm has expired.
pub const ALARM: Events = Events::from_bits_truncate(2);
/// The network stack has news.
pub const TRAFFIC: Events = Events::from_bits_truncate(8);
/// A key in the store that is watched has changed.
pub const NEWS: Events = Events::from_bits_truncate(4);

/// One session with each service, once it was needed.
#[derive(Default)]
pub struct Sessions {
    fs: Option<FsClient>,
    timer: Option<Alarms>,
    store: Option<Subscriber>,
    net: Option<NetClient>,
    scheduler: Option<SchedulerClient>,
    supervisor: Option<SupervisorClient>,
    /// Number of the latest alarm.
    pub alarm: u32,
}

macro_rules! sessions {
    ($($name:ident: $type:ty = $bind:expr;)+) => {
        impl Sessions {
            $(
                /// The session with this service, opened if there is none.
                pub fn $name(&mut self) -> Result<&$type, Failure> {
                    match self.$name {
                        Some(ref session) => Ok(session),
                        None => Ok(self.$name.insert($bind.map_err(|error| Failure::System(stringify!($name), error))?)),
                    }
                }
            )+

            /// Forgets the session with a service: it is lost.
            pub fn forget(&mut self, service: &str) {
                $(
                    if service == stringify!($name) {
                        self.$name = None;
                    }
                )+
            }
        }
    };
}

sessions! {
    fs: FsClient = FsClient::bind();
    timer: Alarms = Alarms::bind(ALARM);
    store: Subscriber = Subscriber::bind(NEWS);
    net: NetClient = NetClient::bind_notified(TRAFFIC);
    scheduler: SchedulerClient = SchedulerClient::bind();
    supervisor: SupervisorClient = SupervisorClient::bind();
}

/// Whether the service is stopped.
fn is_stopped<E>(error: &CallError<E>) -> bool {
    matches!(error, CallError::Kernel(Error::Stopped))
}

impl Sessions {
    /// The sessions with stack and files, for who needs both.
    pub fn net_and_fs(&mut self) -> Result<(&NetClient, &FsClient), Failure> {
        self.net()?;
        self.fs()?;
        match (&self.net, &self.fs) {
            (Some(net), Some(fs)) => Ok((net, fs)),
            _ => Err(Failure::Said("a session is lost")),
        }
    }

    /// Says which alarms have expired, and what has changed in the store; whether there was anything to say. Errors of the
    /// output are kept by it.
    pub fn tell(&mut self, first: &str, out: &mut Output<'_>) -> bool {
        let mut told = false;
        let mut say = |out: &mut Output<'_>, text: core::fmt::Arguments<'_>| {
            let _ = writeln!(out, "{}{text}", if told { "" } else { first });
            told = true;
        };
        while let Some(alarms) = &self.timer {
            match alarms.take() {
                Ok((alarm, 1)) => say(out, format_args!("alarm {alarm} is due")),
                Ok((alarm, count)) => say(out, format_args!("alarm {alarm} is due, {count} times")),
                // Whoever stopped it knows; the alarms are kept.
                Err(error) if error.would_block() || is_stopped(&error) => break,
                Err(error) => {
                    say(out, format_args!("timer: {error}"));
                    if !error.session_is_gone() {
                        break;
                    }
                    say(out, format_args!("timer: the alarms are lost"));
                    self.timer = None;
                }
            }
        }
        while let Some(store) = &self.store {
            match store.next_change() {
                Ok(None) => break,
                Err(error) if is_stopped(&error) => break,
                Ok(Some(Notice::Published(key))) => {
                    say(out, format_args!("store: {} has a new value", key.as_str()));
                }
                Ok(Some(Notice::Withdrawn(key))) => say(out, format_args!("store: {} is gone", key.as_str())),
                Ok(Some(Notice::Missed)) => {
                    say(out, format_args!("store: more keys are gone; `store ls` lists what is there"))
                }
                Err(error) => {
                    say(out, format_args!("store: {error}"));
                    if !error.session_is_gone() {
                        break;
                    }
                    say(out, format_args!("store: nothing is watched any more, and what was put is gone"));
                    self.store = None;
                }
            }
        }
        told
    }
}
