//! What clients can ask for.

use rt::abi::Control;
use rt::abi::call::name_str;
use rt::abi::image::Policy;
use rt::{LentRead, LentWrite};
use supervisor::{LogEntry, PolicyField, ServiceInfo, Standing, Supervisor, SupervisorError};
use zerocopy::{FromZeros, IntoBytes};

use super::world::{Bed, POLICY, session};
use super::{HELD, RUNNING, STOPPED};

fn name(text: &str) -> LentRead<'_> {
    LentRead::for_test(text.as_bytes())
}

fn show(bed: &mut Bed, service: &str) -> Result<ServiceInfo, SupervisorError> {
    let mut info = ServiceInfo::default();
    bed.server().show(&mut session(1), name(service), LentWrite::for_test(info.as_mut_bytes())).map(|()| info)
}

fn log(bed: &mut Bed, skip: u32, room: usize) -> Vec<u32> {
    let mut entries = vec![LogEntry::default(); room];
    let to = LentWrite::for_test(entries.as_mut_bytes());
    let count = bed.server().log(&mut session(1), skip, to).unwrap();
    entries[..count as usize].iter().map(|entry| entry.number).collect()
}

#[test]
fn orders_are_carried_out_and_not_counted() {
    let mut bed = Bed::new(&[("fs", POLICY), ("net", POLICY)]);
    let mut client = session(1);
    for _ in 0..30 {
        assert_eq!(bed.server().restart(&mut client, name("fs")), Ok(()));
        bed.settle();
    }
    let info = show(&mut bed, "fs").unwrap();
    assert_eq!((info.restarts, info.failures, info.short_runs, info.state), (30, 0, 0, RUNNING));
    assert_eq!(bed.orders(), vec![("fs".to_owned(), Control::Restart); 30]);
    assert_eq!(bed.server().start(&mut client, name("fs")), Err(SupervisorError::Running));
    assert_eq!(bed.server().stop(&mut client, name("fs")), Ok(()));
    bed.settle();
    assert_eq!((bed.state(0), show(&mut bed, "fs").unwrap().standing), (STOPPED, Standing::Stopped as u32));
    assert_eq!(bed.server().restart(&mut client, name("fs")), Err(SupervisorError::NotRunning));
    bed.pass(10_000);
    assert_eq!(bed.state(0), STOPPED, "nobody starts it but who is asked to");
    assert_eq!(bed.server().start(&mut client, name("fs")), Ok(()));
    bed.settle();
    assert_eq!((bed.state(0), show(&mut bed, "fs").unwrap().standing), (RUNNING, Standing::Watched as u32));
}

#[test]
fn a_service_given_up_starts_with_a_clean_record() {
    let mut bed = Bed::new(&[("fs", POLICY)]);
    let mut client = session(1);
    bed.fail(0, 0);
    bed.fail(0, 0);
    bed.fail(0, 0);
    assert_eq!((bed.state(0), bed.server().restart(&mut client, name("fs"))), (HELD, Err(SupervisorError::NotRunning)));
    let info = show(&mut bed, "fs").unwrap();
    assert_eq!((info.standing, info.short_runs, info.held_until), (Standing::Held as u32, 2, 1010));
    assert_eq!(bed.server().start(&mut client, name("fs")), Ok(()), "before its time");
    bed.settle();
    (0..7).for_each(|_| bed.fail(0, 0));
    assert_eq!(show(&mut bed, "fs").unwrap().standing, Standing::GivenUp as u32);
    assert_eq!(bed.server().start(&mut client, name("fs")), Ok(()));
    bed.settle();
    let info = show(&mut bed, "fs").unwrap();
    assert_eq!((info.standing, info.short_runs, info.state), (Standing::Watched as u32, 0, RUNNING));
}

#[test]
fn it_does_not_control_itself() {
    let mut bed = Bed::new(&[("fs", POLICY)]);
    let mut client = session(1);
    let own = || name("supervisor");
    assert_eq!(bed.server().restart(&mut client, own()), Err(SupervisorError::Itself));
    assert_eq!(bed.server().stop(&mut client, own()), Err(SupervisorError::Itself));
    assert_eq!(bed.server().start(&mut client, own()), Err(SupervisorError::Itself));
    let field = PolicyField::MinRun;
    assert_eq!(bed.server().set_policy(&mut client, field, 1, own()), Err(SupervisorError::Itself));
    assert_eq!(bed.server().reset_policy(&mut client, own()), Err(SupervisorError::Itself));
    assert_eq!(bed.orders(), []);
    assert_eq!(show(&mut bed, "supervisor").unwrap().standing, Standing::Itself as u32);
}

#[test]
fn names_that_name_nothing_are_refused() {
    let mut bed = Bed::new(&[("fs", POLICY)]);
    let mut client = session(1);
    for wrong in ["", "f", "fs2", "fs\0", "a-name-of-more-than-sixteen-letters"] {
        assert_eq!(bed.server().stop(&mut client, name(wrong)), Err(SupervisorError::NoService), "{wrong:?}");
        assert_eq!(show(&mut bed, wrong).err(), Some(SupervisorError::NoService), "{wrong:?}");
    }
    assert_eq!(bed.server().stop(&mut client, LentRead::for_test(&[0xff; 2])), Err(SupervisorError::NoService));
}

#[test]
fn services_are_listed_page_by_page() {
    let mut bed = Bed::new(&[("fs", POLICY), ("net", POLICY), ("timer", Policy::default())]);
    let mut names = Vec::new();
    let mut first = 0;
    loop {
        let mut infos = [ServiceInfo::default(); 3];
        let to = LentWrite::for_test(&mut infos.as_mut_bytes()[..2 * size_of::<ServiceInfo>() + 7]);
        let count = bed.server().list(&mut session(1), first, to).unwrap();
        names.extend(infos[..count as usize].iter().map(|info| name_str(&info.name).to_owned()));
        first += count;
        if count == 0 {
            break;
        }
    }
    assert_eq!(names, ["fs", "net", "timer", "supervisor"]);
    let mut short = [0; size_of::<ServiceInfo>() - 1];
    let result = bed.server().list(&mut session(1), 0, LentWrite::for_test(&mut short));
    assert_eq!(result, Err(SupervisorError::BadBuffer));
}

#[test]
fn policies_are_changed_and_given_back() {
    let mut bed = Bed::new(&[("fs", POLICY)]);
    let mut client = session(1);
    let mut set = |bed: &mut Bed, field, value| bed.server().set_policy(&mut client, field, value, name("fs"));
    assert_eq!(set(&mut bed, PolicyField::Backoff, 51), Err(SupervisorError::BadPolicy), "above the cap");
    assert_eq!(set(&mut bed, PolicyField::BackoffCap, 9), Err(SupervisorError::BadPolicy), "below the back-off");
    assert_eq!(set(&mut bed, PolicyField::Heartbeat, 9), Err(SupervisorError::BadPolicy));
    assert_eq!(set(&mut bed, PolicyField::GiveUp, 2), Err(SupervisorError::BadPolicy));
    assert_eq!(show(&mut bed, "fs").unwrap().changed, 0);
    assert_eq!(set(&mut bed, PolicyField::Heartbeat, 10), Ok(()));
    assert_eq!(set(&mut bed, PolicyField::MaxRestarts, 2), Ok(()));
    bed.rebuild(None);
    bed.settle();
    let info = show(&mut bed, "fs").unwrap();
    assert_eq!((info.changed, info.policy.heartbeat, info.policy.max_restarts, info.policy.min_run), (1, 10, 2, 50));
    bed.pass(100);
    assert!(bed.orders().len() >= 9);
    bed.fail(0, 0);
    bed.fail(0, 0);
    bed.fail(0, 0);
    assert_eq!(bed.state(0), STOPPED, "given up after the second short run");
    assert_eq!(bed.server().reset_policy(&mut session(2), name("fs")), Ok(()));
    let info = show(&mut bed, "fs").unwrap();
    assert_eq!(
        (info.changed, PolicyField::ALL.iter().map(|field| field.of(&info.policy)).collect::<Vec<_>>()),
        (0, vec![0, 2, 50, 6, 10, 50, 0])
    );
    bed.orders();
    bed.server().start(&mut session(2), name("fs")).unwrap();
    bed.pass(1000);
    assert_eq!(bed.orders().len(), 1, "no self-tests any more");
}

#[test]
fn the_log_is_read_backwards_or_as_it_grows() {
    let mut bed = Bed::new(&[("fs", Policy::default())]);
    (0..10).for_each(|_| bed.fail(0, 0));
    assert_eq!(log(&mut bed, 0, 4), [10, 9, 8, 7]);
    assert_eq!(log(&mut bed, 7, 20), [3, 2, 1]);
    assert_eq!(log(&mut bed, 10, 4), []);
    bed.rebuild(None);
    let mut client = session(1);
    let mut next = |bed: &mut Bed, room: usize| {
        let mut entries = vec![LogEntry::new_zeroed(); room];
        let to = LentWrite::for_test(entries.as_mut_bytes());
        let (count, missed) = bed.server().log_next(&mut client, to).unwrap();
        (entries[..count as usize].iter().map(|entry| entry.number).collect::<Vec<_>>(), missed)
    };
    assert_eq!(next(&mut bed, 6), ((1..=6).collect(), 0));
    assert_eq!(next(&mut bed, 6), ((7..=10).collect(), 0));
    assert_eq!(next(&mut bed, 6), (vec![], 0));
    bed.fail(0, 0);
    bed.rebuild(None);
    assert_eq!(next(&mut bed, 6), (vec![11], 0));
    (0..200).for_each(|_| bed.fail(0, 0));
    assert_eq!(next(&mut bed, 2), (vec![84, 85], 72));
    let mut short = [0; size_of::<LogEntry>() - 1];
    let result = bed.server().log(&mut session(1), 0, LentWrite::for_test(&mut short));
    assert_eq!(result, Err(SupervisorError::BadBuffer));
}
