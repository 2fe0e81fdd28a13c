//! The workload of `supervisor`: each client changes the policy of a service of its own, gives it orders, and reads the log,
//! which begins with failures of before.

use abi::info::ObjectState;
use rt::Error;
use supervisor::{LogEntry, PolicyField, ServiceInfo, Standing, SupervisorClient, SupervisorError};
use timer::TimerClient;
use trial::Workload;
use zerocopy::{FromZeros, IntoBytes};

use crate::course::{Answer, Course, Failed, Subject, fold, hash_words, pause, refused};

/// The service of each client. Nobody uses them.
const OWN: [&str; 3] = ["timer", "console", "scheduler"];
/// Services in all.
const SERVICES: usize = Workload::ALL.len();
/// Entries of the log that are read at once.
const BATCH: usize = 2;
/// Entries that the log begins with.
const FAILURES: u32 = Workload::Supervisor.failures();

struct Client {
    supervisor: Subject<SupervisorClient>,
    client: u32,
}

fn bind() -> Result<SupervisorClient, Error> {
    SupervisorClient::bind()
}

/// Calls the timer, so that it fails if it has been told to.
pub fn prepare() -> Result<(), Error> {
    let timer = TimerClient::bind()?;
    timer.now().map(|_| ()).map_err(|_| Error::ServerFault)
}

/// The entries of before, as they were then.
fn of_before(hash: u32, entries: &[LogEntry]) -> u32 {
    let before = entries.iter().filter(|entry| (1..=FAILURES).contains(&entry.number));
    before.fold(hash, |hash, entry| fold(hash, entry.as_bytes()))
}

/// What depends on this client alone.
fn condensed(info: &ServiceInfo) -> u32 {
    let policy = PolicyField::ALL.iter().fold(0, |hash, field| fold(hash, &field.of(&info.policy).to_le_bytes()));
    fold(fold(policy, &info.name), &[info.changed as u8, info.standing as u8])
}

impl Client {
    fn own(&self) -> &'static str {
        OWN[self.client as usize % OWN.len()]
    }

    fn set(&mut self, field: PolicyField, value: u32) {
        let own = self.own();
        self.supervisor.call(|supervisor| done(supervisor.set_policy(field, value, own.as_bytes())?));
    }

    /// Changes several fields, and finds that a back-off above its cap is refused.
    fn change(&mut self, round: u32) {
        let value = hash_words(&[self.client, round]);
        self.set(PolicyField::MinRun, 100 + value % 1_000);
        self.set(PolicyField::BackoffCap, 500 + value % 499);
        self.set(PolicyField::Backoff, 1 + value % 499);
        let own = self.own();
        self.supervisor.call(|supervisor| {
            refused(supervisor.set_policy(PolicyField::Backoff, 1_000, own.as_bytes()), SupervisorError::BadPolicy)
        });
    }

    fn reset(&mut self) {
        let own = self.own();
        self.supervisor.call(|supervisor| done(supervisor.reset_policy(own.as_bytes())?));
    }

    fn show(&mut self) {
        let own = self.own();
        self.supervisor.call(|supervisor| {
            let mut info = ServiceInfo::new_zeroed();
            supervisor.show(own.as_bytes(), info.as_mut_bytes())?;
            Ok(condensed(&info).into())
        });
    }

    /// Names of all services, and what there is to tell of the own one.
    fn list(&mut self) {
        let own = self.own();
        self.supervisor.call(|supervisor| {
            let mut infos = [ServiceInfo::new_zeroed(); SERVICES];
            let count = supervisor.list(0, infos.as_mut_bytes())?;
            let infos = infos.get(..count as usize).unwrap_or_default();
            let all = infos.iter().fold(count, |hash, info| match abi::call::name_str(&info.name) {
                name if name == own => fold(hash, &condensed(info).to_le_bytes()),
                name => fold(hash, name.as_bytes()),
            });
            Ok(all.into())
        });
    }

    /// The next entries of the log.
    fn log_next(&mut self) {
        self.supervisor.call(|supervisor| {
            let mut entries = [LogEntry::new_zeroed(); BATCH];
            let (count, forgotten) = supervisor.log_next(entries.as_mut_bytes())?;
            Ok(of_before(forgotten, entries.get(..count as usize).unwrap_or_default()).into())
        });
    }

    /// The entries that the log begins with, behind those of later failures, the latest first.
    fn log(&mut self) {
        self.supervisor.call(|supervisor| {
            let (mut skip, mut all, mut expected) = (0, 0, FAILURES);
            while expected > 0 {
                let mut entries = [LogEntry::new_zeroed(); FAILURES as usize];
                let count = supervisor.log(skip, entries.as_mut_bytes())?;
                if count == 0 {
                    break;
                }
                skip += count;
                // Another failure meanwhile has moved them: what was read before may come again.
                for entry in entries.iter().take(count as usize).filter(|entry| entry.number > 0) {
                    if entry.number <= expected {
                        (all, expected) = (fold(all, entry.as_bytes()), entry.number - 1);
                    }
                }
            }
            Ok(all.into())
        });
    }

    /// Stops the own service, and starts it again.
    fn stop_and_start(&mut self) {
        let own = self.own();
        self.supervisor.call(|supervisor| done(supervisor.stop(own.as_bytes())?));
        self.wait(ObjectState::Stopped, Standing::Stopped);
        self.supervisor.call(|supervisor| refused(supervisor.restart(own.as_bytes()), SupervisorError::NotRunning));
        self.supervisor.call(|supervisor| done(supervisor.start(own.as_bytes())?));
        self.wait(ObjectState::Running, Standing::Watched);
    }

    /// Has the own service restarted.
    fn restart(&mut self) {
        let own = self.own();
        self.supervisor.call(|supervisor| done(supervisor.restart(own.as_bytes())?));
        self.wait(ObjectState::Running, Standing::Watched);
        self.supervisor.call(|supervisor| refused(supervisor.start(own.as_bytes()), SupervisorError::Running));
    }

    /// Waits until the own service is in this state: orders are carried out after the request.
    fn wait(&mut self, state: ObjectState, standing: Standing) {
        let own = self.own();
        self.supervisor.call(|supervisor| {
            let mut info = ServiceInfo::new_zeroed();
            loop {
                supervisor.show(own.as_bytes(), info.as_mut_bytes())?;
                if (info.state, info.standing) == (state as u32, standing as u32) {
                    return Ok(condensed(&info).into());
                }
                pause()?;
            }
        });
    }
}

fn done((): ()) -> Result<Answer, Failed> {
    Ok(Answer::from(0))
}

/// Reads the log, changes policies, gives orders; then looks at all that is left.
pub fn run(course: Course) {
    let client = course.client;
    let mut own = Client { supervisor: Subject::bind(course, bind), client };
    own.show();
    own.log_next();
    own.change(0);
    own.set(PolicyField::MaxRestarts, 5 + client);
    own.show();
    own.log();
    match client {
        0 => own.restart(),
        1 => own.stop_and_start(),
        _ => own.reset(),
    }
    own.log_next();
    own.change(1);
    own.supervisor.call(|supervisor| refused(supervisor.stop(b"supervisor"), SupervisorError::Itself));
    own.supervisor.call(|supervisor| refused(supervisor.reset_policy(b"nobody"), SupervisorError::NoService));

    // All that is left, at rest.
    own.log_next();
    own.show();
    own.log();
    own.list();
    own.log_next();
    own.reset();
    own.show();
    own.supervisor.end();
}
