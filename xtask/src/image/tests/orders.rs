//! Orders of calls: those that could deadlock are refused, and those that are not refused cannot.

use super::*;

fn serial(name: &str, callees: &str) -> Manifest {
    object(name, &format!("serial = true\ncallees = [{callees}]"))
}

fn plain(name: &str, callees: &str) -> Manifest {
    object(name, &format!("callees = [{callees}]"))
}

fn coping(manifest: Manifest) -> Manifest {
    Manifest { allow_reentry: true, ..manifest }
}

fn none(manifests: &[Manifest]) {
    assert_eq!(problems(manifests), Vec::<String>::new());
}

#[test]
fn nobody_calls_itself() {
    one_problem(&[plain("a", "\"a\"")], "services/a/Cargo.toml:8:", "callees a -> a:");
    let ring = [serial("a", "\"b\""), serial("b", "\"d\",\n\"c\""), serial("c", "\"a\""), plain("d", "")];
    one_problem_of_cycles(&ring, "services/a/Cargo.toml:9:", "a -> b -> c -> a");
    // Every service of a cycle must cope with the error.
    let [a, b, c, d] = ring;
    one_problem_of_cycles(
        &[coping(a.clone()), b.clone(), coping(c.clone()), d.clone()],
        "services/b/Cargo.toml:10:",
        "b -> c",
    );
    none(&[coping(a), coping(b), coping(c), d]);
    assert!(
        manifest("a", "kind = \"object\"\nstack = \"8K\"\nmax_bindings = 1\nallow_reentry = true")
            .expect("well-formed")
            .allow_reentry
    );
    // Programs may: each call is a request of its own.
    none(&[program("p", "spawns = [\"p\"]\ncallees = [\"x\"]"), plain("x", "")]);
}

/// As [`one_problem`], not counting what else is wrong with a cycle.
fn one_problem_of_cycles(manifests: &[Manifest], place: &str, text: &str) {
    let found: Vec<_> = problems(manifests).into_iter().filter(|problem| problem.contains(" -> ")).collect();
    assert!(
        found.len() == 1 && found[0].starts_with(place) && found[0].contains(text),
        "expected {place} {text}: {found:?}"
    );
}

#[test]
fn who_is_in_the_middle_is_serial() {
    let set = |middle| [plain("a", "\"middle\""), middle, plain("leaf", "")];
    one_problem(&set(plain("middle", "\"leaf\"")), "services/middle/Cargo.toml:8:", "a calls middle, which calls leaf");
    none(&set(serial("middle", "\"leaf\"")));
    none(&set(coping(plain("middle", "\"leaf\""))));
    // Called by programs only.
    none(&[program("a", "callees = [\"middle\"]"), plain("middle", "\"leaf\""), plain("leaf", "")]);
}

#[test]
fn orders_that_could_deadlock_are_refused() {
    // One above the other is an order.
    none(&[serial("fs", "\"block\""), serial("block", ""), plain("a", "\"fs\""), plain("b", "\"fs\"")]);
    // A program's calls are requests of their own.
    none(&[serial("fs", ""), serial("store", ""), program("p", "callees = [\"fs\", \"store\"]")]);
    // Objects without state across sessions are not kept.
    none(&[plain("x", ""), plain("y", ""), plain("a", "\"x\", \"y\"")]);
    // Two beside each other have no order, even for one caller.
    one_problem(
        &[serial("fs", ""), serial("store", ""), plain("a", "\"fs\", \"store\"")],
        "services/a/Cargo.toml:",
        "either order",
    );
    // Around an order: block is taken before or after fs.
    let around = [serial("fs", "\"block\""), serial("block", ""), plain("a", "\"fs\", \"block\"")];
    one_problem(
        &around,
        "services/a/Cargo.toml:8:",
        "block and fs can be taken in either order (services/fs/Cargo.toml:9",
    );
    // Two callers, each with an order of its own.
    let two = [plain("a", "\"x\""), serial("x", "\"y\""), plain("b", "\"y\""), serial("y", "\"x\"")];
    assert!(problems(&two).iter().any(|text| text.contains("x and y can be taken in either order")));
    // The callees of callees count, wherever the ways part.
    let far =
        [serial("x", ""), serial("y", ""), serial("m", "\"x\""), serial("n", "\"y\""), plain("a", "\"m\", \"n\"")];
    assert!(problems(&far).iter().any(|text| text.starts_with("services/a/")));
    // A service that copes with the error may take them as it likes.
    none(&[serial("x", ""), serial("y", ""), coping(plain("a", "\"x\", \"y\""))]);
}

/// A small system: for each object whether it is serial, and whom it calls.
struct Model {
    serial: Vec<bool>,
    callees: Vec<Vec<usize>>,
}

/// A request: where it is, and what it wants next.
#[derive(Default)]
struct Walk {
    path: Vec<usize>,
    wants: Option<usize>,
    used: Vec<usize>,
    flushes: bool,
}

/// What requests hold.
struct Holders {
    monitor: Vec<Option<usize>>,
    kept: Vec<Option<usize>>,
    session: Vec<Vec<Option<usize>>>,
}

impl Model {
    fn manifests(&self) -> Vec<Manifest> {
        let names =
            |callees: &Vec<usize>| callees.iter().map(|callee| format!("\"o{callee}\"")).collect::<Vec<_>>().join(", ");
        let objects = self.callees.iter().zip(&self.serial).enumerate();
        objects
            .map(|(index, (callees, is_serial))| {
                let make = if *is_serial { serial } else { plain };
                make(&format!("o{index}"), &names(callees))
            })
            .collect()
    }

    /// Runs three requests at random, with the kernel's rules of what is held until when. Returns whether they come to wait
    /// for each other.
    fn deadlocks(&self, random: &mut impl FnMut() -> usize) -> bool {
        let count = self.serial.len();
        let mut holders =
            Holders { monitor: vec![None; count], kept: vec![None; count], session: vec![vec![None; count]; count] };
        let mut walks: [Walk; 3] = Default::default();
        for _ in 0..120 {
            let who = random() % walks.len();
            self.step(who, &mut walks[who], &mut holders, random);
            let blocked = |who: usize| self.blocked_by(who, &walks[who], &holders);
            let mut next = blocked(who);
            for _ in 0..walks.len() {
                if next == Some(who) {
                    return true;
                }
                next = next.and_then(blocked);
            }
        }
        false
    }

    /// Who keeps a request from what it wants.
    fn blocked_by(&self, who: usize, walk: &Walk, holders: &Holders) -> Option<usize> {
        let wanted = walk.wants?;
        if walk.path.contains(&wanted) {
            return Some(who);
        }
        let session = walk.path.last().and_then(|caller| holders.session[*caller][wanted]);
        let others = [holders.monitor[wanted], holders.kept[wanted], session];
        others.into_iter().flatten().find(|holder| *holder != who)
    }

    fn step(&self, who: usize, walk: &mut Walk, holders: &mut Holders, random: &mut impl FnMut() -> usize) {
        if let Some(wanted) = walk.wants {
            if self.blocked_by(who, walk, holders).is_none() {
                holders.monitor[wanted] = Some(who);
                walk.path.push(wanted);
                walk.wants = None;
            }
            return;
        }
        match walk.path.last() {
            // A call, of a program or an upcall; or, behind the commit, the flush of a session that is still kept.
            None if !walk.flushes => walk.wants = Some(random() % self.serial.len()),
            None if !walk.used.is_empty() && random().is_multiple_of(2) => {
                walk.wants = Some(walk.used[random() % walk.used.len()]);
            }
            None => {
                let release = |holder: &mut Option<usize>| *holder = holder.filter(|holder| *holder != who);
                holders.kept.iter_mut().for_each(release);
                holders.session.iter_mut().flatten().for_each(release);
                *walk = Walk::default();
            }
            Some(object) if !self.callees[*object].is_empty() && !random().is_multiple_of(3) => {
                walk.wants = Some(self.callees[*object][random() % self.callees[*object].len()]);
            }
            Some(_) => self.leave(who, walk, holders),
        }
    }

    fn leave(&self, who: usize, walk: &mut Walk, holders: &mut Holders) {
        let Some(object) = walk.path.pop() else { return };
        holders.monitor[object] = None;
        match walk.path.last() {
            None => walk.flushes = true,
            Some(caller) => {
                holders.session[*caller][object] = Some(who);
                if self.serial[object] {
                    holders.kept[object] = Some(who);
                }
                walk.used.push(object);
            }
        }
    }
}

/// The rules against the kernel's behaviour, on random small systems.
#[test]
fn what_is_not_refused_cannot_deadlock() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize
    };
    let (mut good, mut refused, mut rightly) = (0, 0, 0);
    for _ in 0..800 {
        let count = 3 + random() % 4;
        let serial = (0..count).map(|_| random() % 3 > 0).collect();
        let mut callees: Vec<Vec<usize>> = vec![Vec::new(); count];
        for _ in 0..1 + random() % (count + 2) {
            let (caller, callee) = (random() % count, random() % count);
            // Mostly downwards, so that not all have cycles.
            let (caller, callee) =
                if !random().is_multiple_of(8) { (caller.min(callee), caller.max(callee)) } else { (caller, callee) };
            if (caller != callee || random().is_multiple_of(8)) && !callees[caller].contains(&callee) {
                callees[caller].push(callee);
            }
        }
        let model = Model { serial, callees };
        let accepted = problems(&model.manifests()).is_empty();
        let deadlock = (0..40).any(|_| model.deadlocks(&mut random));
        assert!(
            !(accepted && deadlock),
            "accepted, but deadlocks: serial {:?}, calls {:?}",
            model.serial,
            model.callees
        );
        good += usize::from(accepted);
        refused += usize::from(!accepted);
        rightly += usize::from(!accepted && deadlock);
    }
    assert!(good > 300 && rightly > refused / 2, "{good} accepted, {refused} refused, {rightly} of these deadlocked");
}
