//! The service: requests of clients, and what is derived for it from their sessions.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use rt::{Cause, Construct, Error, Events, LentRead, LentWrite, Next, Service, Session, sys};

use crate::interface::{Change, Store};
use crate::key::{Key, Value};
use crate::registry::{Place, Registry};
use crate::session::{self, State, Subscription};
use crate::{MAX_KEY, MAX_SUBSCRIPTIONS, StoreError};

/// Domains with numbers below this are objects.
const OBJECTS: u32 = 64;

/// What the service needs of the kernel. Tests have their own.
pub trait Machine: Default + 'static {
    /// Asks for an event as soon as possible. It stands at once, whatever becomes of the activation.
    fn wake(&mut self);
    /// Notifies the client of a session when the request commits; `false` if there is no such session.
    fn notify(&mut self, session: u32) -> bool;
}

/// The kernel itself.
#[derive(Default)]
pub struct Kernel;

impl Machine for Kernel {
    fn wake(&mut self) {
        // A refusal is a manifest without the right: a failure that says so.
        sys::deadline(Some(0)).expect("the manifest grants `deadline`");
    }

    fn notify(&mut self, session: u32) -> bool {
        sys::notify(session).is_ok()
    }
}

/// The service.
pub struct Server<M> {
    machine: M,
    registry: &'static mut Registry,
    /// The version given out last: that of the registry's top, or a greater one that was undone.
    clock: u64,
    /// Who is to be notified of which keys. Patterns that are no longer subscribed to may stay until a step.
    subscribers: BTreeMap<u32, Vec<Key>>,
    /// Sessions that a step has to look at, and which may have ended unnoticed.
    suspects: BTreeSet<u32>,
}

impl Subscription {
    /// Whether its client is to be told of this place.
    fn is_news(&self, place: &Place) -> bool {
        let told = if place.owner().is_some() { self.seen } else { self.seen.max(self.since) };
        place.version > told && self.pattern.matches(&place.key)
    }

    /// Whether withdrawals are forgotten of which its client was not told.
    fn misses(&self, registry: &Registry) -> bool {
        self.seen.max(self.since) < registry.forgotten
    }
}

impl<M: Machine> Server<M> {
    /// The service over its common region, before its first session, or with all sessions still to be reloaded.
    pub fn over(registry: &'static mut Registry, cause: Cause, machine: M) -> Self {
        let mut suspects = BTreeSet::new();
        if cause == Cause::Recovery {
            registry.mend();
            suspects.extend(registry.entries().filter_map(Place::owner));
        }
        let clock = registry.top();
        let mut server = Server { machine, registry, clock, subscribers: BTreeMap::new(), suspects };
        if !server.suspects.is_empty() {
            server.machine.wake();
        }
        server
    }

    /// Gives the region back; what the service had in its own memory is gone, as in a crash.
    pub fn into_registry(self) -> &'static mut Registry {
        self.registry
    }

    /// The common region, for tests.
    pub fn registry(&mut self) -> &mut Registry {
        self.registry
    }

    /// Patterns that are held for a session, for tests.
    pub fn patterns(&self, session: u32) -> usize {
        self.subscribers.get(&session).map_or(0, Vec::len)
    }

    /// Has a session looked at, in a step.
    fn suspect(&mut self, session: u32) {
        if self.suspects.insert(session) {
            self.machine.wake();
        }
    }

    fn next(&self) -> Next {
        self.suspects.first().map_or(Next::Done, |session| Next::Session(*session))
    }

    /// A version greater than all before.
    fn version(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Notifies all whose patterns match.
    fn announce(&mut self, key: &Key) {
        let machine = &mut self.machine;
        self.subscribers.retain(|session, patterns| {
            !patterns.iter().any(|pattern| pattern.matches(key)) || machine.notify(*session)
        });
    }

    /// Withdraws a key from the registry.
    fn retract(&mut self, key: &Key) -> u64 {
        let version = self.version();
        self.registry.withdraw(key, version);
        self.announce(key);
        version
    }

    /// Forgets a session, and withdraws what it had, except what is `kept`.
    fn forget(&mut self, number: u32, kept: impl Fn(&Key) -> bool) {
        self.suspects.remove(&number);
        self.subscribers.remove(&number);
        let own = |place: &&Place| place.owner() == Some(number) && !kept(&place.key);
        loop {
            let key = self.registry.entries().find(own).map(|place| place.key);
            let Some(key) = key else { break };
            self.retract(&key);
        }
    }

    /// Derives from a session whatever is kept elsewhere, and mends what the registry has of it.
    fn derive(&mut self, session: &Session<State>) -> Result<(), Error> {
        let number = session.number();
        if !session::is_sound(session) {
            self.forget(number, |_| false);
            return Err(Error::SessionLost);
        }
        let entries = session::entries(session);
        self.forget(number, |key| entries.iter().any(|entry| entry.key == *key));
        for entry in entries {
            self.clock = self.clock.max(entry.version);
            let place = self.registry.find(&entry.key);
            let wanted = (Some(number), session.domain, entry.version, entry.value);
            if place.map(|place| (place.owner(), place.domain, place.version, place.value)) != Some(wanted) {
                self.registry.put(&entry.key, &entry.value, entry.version, (number, session.domain));
                self.announce(&entry.key);
            }
        }
        for subscription in session::subscriptions(session) {
            self.clock = self.clock.max(subscription.seen).max(subscription.since);
            if subscription.misses(self.registry) {
                self.machine.notify(number);
            }
        }
        let patterns = session::patterns(session);
        if !patterns.is_empty() {
            self.subscribers.insert(number, patterns);
        }
        Ok(())
    }
}

impl<M: Machine> Service for Server<M> {
    type State = State;

    fn new(construct: &mut Construct) -> Self {
        let cause = construct.cause();
        let registry = construct.take_common_as().expect("the manifest has a common region of 128K");
        Self::over(registry, cause, M::default())
    }

    fn open(&mut self, session: &mut Session<State>) -> Result<(), Error> {
        // A session that was lost may have left entries and its number behind.
        self.forget(session.number(), |_| false);
        session.domain = session.client();
        Ok(())
    }

    fn is_sound(session: &Session<State>) -> bool {
        session::is_sound(session)
    }

    fn reload(&mut self, session: &mut Session<State>) -> Result<(), Error> {
        self.derive(session)?;
        if session.client() < OBJECTS {
            // Its request may still be undone, and this state with it: a step, which comes after that, looks again.
            self.suspect(session.number());
        }
        Ok(())
    }

    fn close(&mut self, session: &mut Session<State>) {
        self.forget(session.number(), |_| false);
    }

    fn event(&mut self, _: Events) -> Next {
        self.next()
    }

    fn step(&mut self, session: &mut Session<State>, _: Events) -> Next {
        let number = session.number();
        // After this failure `reload` says so, and the session is lost.
        self.derive(session).expect("an open session makes sense");
        if self.subscribers.contains_key(&number) {
            // For what was announced while its patterns were not known here.
            self.machine.notify(number);
        }
        self.next()
    }

    fn skipped(&mut self, session: u32, _: Events) -> Next {
        self.forget(session, |_| false);
        self.next()
    }

    fn self_test(&mut self) -> Result<(), Error> {
        let sound = self.registry.is_sound() && self.registry.top() <= self.clock;
        if sound { Ok(()) } else { Err(Error::ServerFault) }
    }
}

impl<M: Machine> Store for Server<M> {
    fn publish(
        &mut self,
        session: &mut Session<State>,
        key_len: u32,
        key_and_value: LentRead<'_>,
    ) -> Result<u64, StoreError> {
        let key = Key::lent_key(&key_and_value, key_len as usize)?;
        let value = Value::lent(&key_and_value, key_len as usize)?;
        let number = session.number();
        if let Some(owner) = self.registry.find(&key).and_then(Place::owner)
            && owner != number
        {
            self.suspect(owner);
            return Err(StoreError::NotOwner);
        }
        if !session::has_room_for(session, &key) {
            return Err(StoreError::TooManyEntries);
        }
        let version = self.version();
        if !self.registry.put(&key, &value, version, (number, session.domain)) {
            return Err(StoreError::NoRoom);
        }
        session::put(session, &key, &value, version)?;
        self.announce(&key);
        Ok(version)
    }

    fn withdraw(&mut self, session: &mut Session<State>, key: LentRead<'_>) -> Result<u64, StoreError> {
        let key = Key::lent_key(&key, key.len())?;
        if session::remove(session, &key) {
            return Ok(self.retract(&key));
        }
        let owned = self.registry.find(&key).is_some_and(|place| place.owner().is_some());
        Err(if owned { StoreError::NotOwner } else { StoreError::NotFound })
    }

    fn retrieve(
        &mut self,
        _: &mut Session<State>,
        key: LentRead<'_>,
        mut value: LentWrite<'_>,
    ) -> Result<(u32, u32, u64), StoreError> {
        let key = Key::lent_key(&key, key.len())?;
        let place = self.registry.find(&key).filter(|place| place.owner().is_some()).ok_or(StoreError::NotFound)?;
        let bytes = place.value.as_slice();
        value.copy(0, bytes).map_err(|_| StoreError::BufferTooShort)?;
        Ok((bytes.len() as u32, place.domain, place.version))
    }

    fn list(
        &mut self,
        _: &mut Session<State>,
        inclusive: bool,
        from: LentRead<'_>,
        mut key: LentWrite<'_>,
    ) -> Result<u32, StoreError> {
        let mut start = [0; MAX_KEY];
        let start = start.get_mut(..from.len()).ok_or(StoreError::BadKey)?;
        from.copy(0, start).map_err(|_| StoreError::BadKey)?;
        let behind = |text: &&[u8]| if inclusive { *text >= &*start } else { *text > &*start };
        let text = self.registry.entries().map(|place| place.key.as_text()).filter(behind).min();
        let text = text.ok_or(StoreError::NotFound)?;
        key.copy(0, text).map_err(|_| StoreError::BufferTooShort)?;
        Ok(text.len() as u32)
    }

    fn subscribe(
        &mut self,
        session: &mut Session<State>,
        present: bool,
        pattern: LentRead<'_>,
    ) -> Result<(), StoreError> {
        let pattern = Key::lent_pattern(&pattern)?;
        let top = self.registry.top();
        session::subscribe(session, &pattern, if present { 0 } else { top }, top)?;
        let patterns = self.subscribers.entry(session.number()).or_default();
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
        if patterns.len() > 2 * MAX_SUBSCRIPTIONS {
            // Too many that were ended and not yet looked at: everything matches until then.
            *patterns = Key::of(b"*").into_iter().collect();
        }
        Ok(())
    }

    fn unsubscribe(&mut self, session: &mut Session<State>, pattern: LentRead<'_>) -> Result<(), StoreError> {
        let pattern = Key::lent_pattern(&pattern)?;
        session::unsubscribe(session, &pattern)?;
        // Not before the request is over: it may be undone, and nobody be notified then.
        self.suspect(session.number());
        Ok(())
    }

    fn changes(&mut self, session: &mut Session<State>, mut key: LentWrite<'_>) -> Result<(Change, u32), Error> {
        if key.len() < MAX_KEY {
            return Err(Error::BadArgument);
        }
        let subscriptions = session::subscriptions_mut(session);
        if subscriptions.iter().all(|subscription| subscription.seen >= self.clock) {
            return Err(Error::WouldBlock);
        }
        let forgotten = self.registry.forgotten;
        let mut missed = false;
        for subscription in subscriptions.iter_mut().filter(|subscription| subscription.misses(self.registry)) {
            subscription.since = forgotten;
            missed = true;
        }
        if missed {
            return Ok((Change::Missed, 0));
        }
        let (mut top, mut next) = (forgotten, None::<&Place>);
        for place in self.registry.places() {
            top = top.max(place.version);
            if next.is_none_or(|next| place.version < next.version)
                && subscriptions.iter().any(|subscription| subscription.is_news(place))
            {
                next = Some(place);
            }
        }
        if let Some(place) = next {
            key.copy(0, place.key.as_text()).map_err(|_| Error::BadArgument)?;
        }
        // No subscription has news below that.
        let seen = next.map_or(top, |place| place.version);
        for subscription in subscriptions.iter_mut() {
            subscription.seen = subscription.seen.max(seen);
        }
        let place = next.ok_or(Error::WouldBlock)?;
        let change = if place.owner().is_some() { Change::Published } else { Change::Withdrawn };
        Ok((change, place.key.as_text().len() as u32))
    }
}
