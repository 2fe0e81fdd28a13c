//! What programs need beside the methods: texts instead of buffers, and waiting.

use core::ops::Deref;

use rt::client::when_ready;
use rt::{CallError, Error, Events};

use crate::interface::{Change, StoreClient};
use crate::key::Key;
use crate::{MAX_KEY, MAX_VALUE, StoreError};

/// A value that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The value.
    pub value: &'a [u8],
    /// Number of the domain that published it: objects have 0 to 63.
    pub owner: u32,
    /// The version of its latest change.
    pub version: u64,
}

/// What a subscriber is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The key was published, for the first time or anew.
    Published(Key),
    /// The key was withdrawn, by its owner or with it.
    Withdrawn(Key),
    /// Some withdrawals are forgotten: [`StoreClient::each`] tells what there is.
    Missed,
}

impl StoreClient {
    /// Publishes a value under a key. Returns the version of this change.
    ///
    /// # Errors
    /// As [`publish`](StoreClient::publish).
    pub fn put(&self, key: &str, value: &[u8]) -> Result<u64, CallError<StoreError>> {
        let mut buffer = [0; MAX_KEY + MAX_VALUE];
        let refuse = |error| Err(CallError::Service(error));
        if value.len() > MAX_VALUE {
            return refuse(StoreError::ValueTooLong);
        }
        let Some((to, rest)) = buffer.split_at_mut_checked(key.len()).filter(|_| key.len() <= MAX_KEY) else {
            return refuse(StoreError::BadKey);
        };
        to.copy_from_slice(key.as_bytes());
        rest[..value.len()].copy_from_slice(value);
        self.publish(key.len() as u32, &buffer[..key.len() + value.len()])
    }

    /// Looks a value up.
    ///
    /// # Errors
    /// As [`retrieve`](StoreClient::retrieve).
    pub fn get<'a>(&self, key: &str, value: &'a mut [u8; MAX_VALUE]) -> Result<Entry<'a>, CallError<StoreError>> {
        let (len, owner, version) = self.retrieve(key.as_bytes(), value)?;
        let value = value.get(..len as usize).ok_or(CallError::Protocol(0))?;
        Ok(Entry { value, owner, version })
    }

    /// Calls `visit` with each key that starts so, in the order of their bytes; until it says `false`.
    ///
    /// # Errors
    /// As [`list`](StoreClient::list).
    pub fn each(&self, start: &str, mut visit: impl FnMut(&Key) -> bool) -> Result<(), CallError<StoreError>> {
        let mut key = Key::of(start.as_bytes()).ok_or(CallError::Service(StoreError::BadKey))?;
        let mut inclusive = true;
        loop {
            let mut next = [0; MAX_KEY];
            match self.list(inclusive, key.as_text(), &mut next) {
                Ok(len) => key = told(&next, len)?,
                Err(CallError::Service(StoreError::NotFound)) => return Ok(()),
                Err(error) => return Err(error),
            }
            inclusive = false;
            if !key.as_str().starts_with(start) || !visit(&key) {
                return Ok(());
            }
        }
    }

    /// Subscribes to the keys that match a pattern; with `present` also to what is there already.
    ///
    /// # Errors
    /// As [`subscribe`](StoreClient::subscribe).
    pub fn follow(&self, pattern: &str, present: bool) -> Result<(), CallError<StoreError>> {
        self.subscribe(present, pattern.as_bytes())
    }

    /// The next change; `None` if there is none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn next_change(&self) -> Result<Option<Notice>, CallError<StoreError>> {
        match self.notice() {
            Err(error) if error.would_block() => Ok(None),
            notice => notice.map(Some),
        }
    }

    fn notice(&self) -> Result<Notice, CallError<StoreError>> {
        let mut key = [0; MAX_KEY];
        let (change, len) = self.changes(&mut key).map_err(|error| match error {
            CallError::Kernel(error) | CallError::Service(error) => CallError::Kernel(error),
            CallError::Protocol(code) => CallError::Protocol(code),
        })?;
        Ok(match change {
            Change::Published => Notice::Published(told(&key, len)?),
            Change::Withdrawn => Notice::Withdrawn(told(&key, len)?),
            Change::Missed => Notice::Missed,
        })
    }
}

/// A key that the service copied.
fn told(bytes: &[u8; MAX_KEY], len: u32) -> Result<Key, CallError<StoreError>> {
    let key = bytes.get(..len as usize).and_then(Key::of).filter(Key::is_key);
    key.ok_or(CallError::Protocol(0))
}

/// A session with the store, and the events that its notifications set: changes that can be waited for. The session has
/// bits of its own, as whoever waits for the same events for another reason may find them taken.
#[derive(Debug)]
pub struct Subscriber {
    client: StoreClient,
    events: Events,
}

impl Subscriber {
    /// Opens a session whose notifications set these events, which must not be none.
    ///
    /// # Errors
    /// As [`rt::sys::bind`]; [`Error::BadArgument`]: without events nobody could wait.
    pub fn bind(events: Events) -> Result<Self, Error> {
        if (events & Events::NOTIFICATIONS).is_empty() {
            return Err(Error::BadArgument);
        }
        Ok(Subscriber { client: StoreClient::bind_notified(events)?, events })
    }

    /// What its notifications set.
    pub fn events(&self) -> Events {
        self.events
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait(&self) -> Result<Notice, CallError<StoreError>> {
        when_ready(self.events, || self.client.notice())
    }
}

impl Deref for Subscriber {
    type Target = StoreClient;

    fn deref(&self) -> &StoreClient {
        &self.client
    }
}
