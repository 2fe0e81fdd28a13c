//! The workload of `store`: each client publishes under keys of its own, and follows them.

use core::fmt::Write;

use rt::{CallError, Error, Events, Text};
use store::{MAX_KEY, MAX_VALUE, Notice, StoreError, Subscriber};

use crate::course::{Answer, Course, Failed, Subject, fold, hash, hash_words, refused, wait_for};

/// What the store's notifications set.
const CHANGED: Events = Events::from_bits_truncate(1);
/// Values that stay as they are until the end.
const KEPT: u32 = 3;

type Key = Text<MAX_KEY>;

struct Client {
    store: Subject<Subscriber>,
    client: u32,
    /// The latest version of an own change.
    version: u64,
}

fn bind() -> Result<Subscriber, Error> {
    Subscriber::bind(CHANGED)
}

/// What stands under a key that stays as it is.
fn content(client: u32, key: u32) -> [u8; 24] {
    let word = hash_words(&[client, key]).to_le_bytes();
    core::array::from_fn(|at| word[at % 4] ^ at as u8)
}

impl Client {
    fn key(&self, name: &str) -> Key {
        let mut key = Key::new();
        // `Text` cuts and never fails.
        let _ = write!(key, "client.{}.{name}", self.client);
        key
    }

    fn kept(&self, number: u32) -> Key {
        let mut key = self.key("kept.");
        let _ = write!(key, "{number}");
        key
    }

    /// Publishes; 1: the version is above that of the change before.
    fn put(&mut self, key: Key, value: &[u8]) {
        let version = self.version;
        let mut new = version;
        self.store.call(|store| {
            new = store.put(key.as_str(), value)?;
            Ok(u32::from(new > version).into())
        });
        self.version = new;
    }

    /// The value, who owns it, and whether its version is not above that of the latest change.
    fn get(&mut self, key: Key) -> Option<[u8; 4]> {
        let version = self.version;
        let mut value = [0; MAX_VALUE];
        let mut number = None;
        self.store.call(|store| {
            let entry = store.get(key.as_str(), &mut value)?;
            number = entry.value.try_into().ok();
            let known = u32::from(entry.version <= version);
            Ok(fold(hash_words(&[entry.owner, known]), entry.value).into())
        });
        number
    }

    /// One more under a key that counts: what stands there, plus a number.
    fn count(&mut self, number: u32) {
        let key = self.key("count");
        let before = self.get(key).map_or(0, u32::from_le_bytes);
        self.put(key, &before.wrapping_mul(31).wrapping_add(number).to_le_bytes());
    }

    fn withdraw(&mut self, key: Key) {
        let version = self.version;
        let mut new = version;
        self.store.call(|store| {
            new = store.withdraw(key.as_str().as_bytes())?;
            Ok(u32::from(new > version).into())
        });
        self.version = new;
    }

    fn missing(&mut self, key: Key) {
        self.store.call(|store| refused(store.get(key.as_str(), &mut [0; MAX_VALUE]), StoreError::NotFound));
    }

    fn follow(&mut self, pattern: Key, present: bool) {
        self.store.call(|store| done(store.follow(pattern.as_str(), present)?));
    }

    fn forget(&mut self, pattern: Key) {
        self.store.call(|store| done(store.unsubscribe(pattern.as_str().as_bytes())?));
    }

    /// Waits for the next change, and notes which one it was.
    fn hear(&mut self) {
        self.store.call(|store| match hear(store)? {
            Notice::Published(key) => Ok(fold(1, key.as_str().as_bytes()).into()),
            Notice::Withdrawn(key) => Ok(fold(2, key.as_str().as_bytes()).into()),
            Notice::Missed => Ok(3.into()),
        });
    }

    /// There is no change.
    fn silence(&mut self) {
        self.store.call(|store| Ok(u32::from(store.next_change()?.is_none()).into()));
    }

    /// The own keys, in their order: so many, and that no more follow.
    fn list(&mut self, count: u32) {
        let start = self.key("");
        let (mut key, mut len) = ([0; MAX_KEY], start.as_str().len());
        key[..len].copy_from_slice(start.as_str().as_bytes());
        for step in 0..=count {
            let mut next = [0; MAX_KEY];
            let mut found = 0;
            self.store.call(|store| {
                found = match store.list(step == 0, key.get(..len).unwrap_or_default(), &mut next) {
                    Ok(len) => len as usize,
                    Err(CallError::Service(StoreError::NotFound)) => 0,
                    Err(error) => return Err(error.into()),
                };
                // Behind the own keys are those of others, as many as there happen to be.
                let own = next.get(..found).filter(|next| next.starts_with(start.as_str().as_bytes()));
                Ok(own.map_or(0, hash).into())
            });
            (key, len) = (next, found);
        }
    }
}

/// The next change.
fn hear(store: &Subscriber) -> Result<Notice, Failed> {
    for _ in 0..2 {
        if let Some(notice) = store.next_change()? {
            return Ok(notice);
        }
        wait_for(CHANGED)?;
    }
    Err(Failed::TIMEOUT)
}

fn done((): ()) -> Result<Answer, Failed> {
    Ok(Answer::from(0))
}

/// Publishes, counts, follows, withdraws; then looks at all that is left.
pub fn run(course: Course) {
    let client = course.client;
    let mut own = Client { store: Subject::bind(course, bind), client, version: 0 };
    own.follow(own.key("*"), false);
    for number in 0..KEPT {
        own.put(own.kept(number), &content(client, number));
    }
    own.put(own.key("count"), &client.to_le_bytes());
    own.count(client + 1);
    own.get(own.kept(1));
    own.put(own.kept(1), b"changed");
    // In the order of their versions, and only the latest change of each key.
    for _ in 0..KEPT {
        own.hear();
    }
    own.withdraw(own.kept(2));
    own.missing(own.kept(2));
    own.hear();
    own.hear();
    own.forget(own.key("*"));
    own.count(7);
    own.silence();
    own.follow(own.key("count"), true);
    own.count(13);
    own.hear();
    own.store.call(|store| refused(store.put("", &[]), StoreError::BadKey));

    // All that is left, at rest.
    own.list(3);
    for number in [0, 1] {
        own.get(own.kept(number));
    }
    own.get(own.key("count"));
    own.silence();
    // What a session published goes with it.
    own.store.reopen();
    own.missing(own.key("count"));
    own.store.end();
}
