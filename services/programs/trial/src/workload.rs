//! Which workloads there are, and how a program is told which one it is to run.

/// What the clients do: work with this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Alarms.
    Timer,
    /// Priorities, weights and slices; yields.
    Scheduler,
    /// Files.
    Fs,
    /// Lines.
    Console,
    /// Published values.
    Store,
    /// Policies and the failure log.
    Supervisor,
}

/// A client of the console begins each of its lines with this, its number (one digit) and a space.
pub const LINE_PREFIX: &str = "client ";
/// Client number of whoever prepares a workload before its clients start.
const PREPARER: u32 = 0xff;

impl Workload {
    /// All of them, in the order of their numbers.
    pub const ALL: [Workload; 6] =
        [Workload::Timer, Workload::Scheduler, Workload::Fs, Workload::Console, Workload::Store, Workload::Supervisor];

    /// The service that its clients work with.
    pub const fn name(self) -> &'static str {
        match self {
            Workload::Timer => "timer",
            Workload::Scheduler => "scheduler",
            Workload::Fs => "fs",
            Workload::Console => "console",
            Workload::Store => "store",
            Workload::Supervisor => "supervisor",
        }
    }

    /// Argument of the program that starts its clients.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The one with this number.
    pub fn from_number(number: u32) -> Option<Workload> {
        Self::ALL.get(number as usize).copied()
    }

    /// Its clients.
    pub const fn clients(self) -> u32 {
        match self {
            // Their requests are the longest.
            Workload::Fs | Workload::Store | Workload::Supervisor => 3,
            _ => 4,
        }
    }

    /// Failures of the timer that are made before it begins, so that they are in the supervisor's log.
    pub const fn failures(self) -> u32 {
        match self {
            Workload::Supervisor => 6,
            _ => 0,
        }
    }

    /// Argument of a client.
    pub const fn client(self, client: u32) -> u32 {
        self as u32 | client << 8
    }

    /// Argument of the program that prepares what its clients find.
    pub const fn preparer(self) -> u32 {
        self.client(PREPARER)
    }

    /// What an argument of [`Workload::client`] or [`Workload::preparer`] says; no client number: prepare.
    pub fn from_argument(argument: u32) -> Option<(Workload, Option<u32>)> {
        let client = argument >> 8;
        Some((Workload::from_number(argument & 0xff)?, Some(client).filter(|client| *client != PREPARER)))
    }
}

/// The client whose line this is; `None`: somebody else's.
pub fn client_of_line(line: &str) -> Option<u32> {
    let (number, _) = line.strip_prefix(LINE_PREFIX)?.split_once(' ')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_and_names_are_those_of_the_services() {
        for (number, workload) in (0..).zip(Workload::ALL) {
            assert_eq!(workload.number(), number);
            assert_eq!(Workload::from_number(number), Some(workload));
        }
        assert_eq!(Workload::from_number(6), None);
        let names = Workload::ALL.map(Workload::name);
        assert_eq!(names, ["timer", "scheduler", "fs", "console", "store", "supervisor"]);
    }

    #[test]
    fn arguments_come_back() {
        for workload in Workload::ALL {
            for client in 0..workload.clients() {
                assert_eq!(Workload::from_argument(workload.client(client)), Some((workload, Some(client))));
            }
            assert_eq!(Workload::from_argument(workload.preparer()), Some((workload, None)));
        }
        assert_eq!(Workload::from_argument(6), None);
    }

    #[test]
    fn lines_are_told_apart_by_client() {
        assert_eq!(client_of_line("client 0 1 text"), Some(0));
        assert_eq!(client_of_line("client 3 "), Some(3));
        for other in ["", "client", "client 3", "client x 1", "[supervisor] client 0 1", " client 0 1"] {
            assert_eq!(client_of_line(other), None, "{other:?}");
        }
    }
}
