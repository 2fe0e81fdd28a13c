//! What all clients can see: the common region. A place holds a key that is published, or one that was withdrawn (so that those who
//! have not asked yet can be told), or nothing.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::key::{Key, Value};

/// Places. As many as there can be entries, and some more: see the manifest.
pub const PLACES: usize = 1023;
/// All versions lie below this: what is above can only be damage.
pub const VERSION_LIMIT: u64 = 1 << 62;

/// A place.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Place {
    /// The version of the latest change of the key; 0: nothing is here.
    pub version: u64,
    /// 1 + number of the session that it belongs to; 0: withdrawn.
    owner: u32,
    /// Number of the owner's domain.
    pub domain: u32,
    hash: u32,
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    unused: [u8; 10],
}

const _: () = assert!(size_of::<Place>() == 128, "a place lies on one page, whose pre-image a change costs");

/// The common region.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Registry {
    /// Withdrawals up to this version may be forgotten.
    pub forgotten: u64,
    unused: [u64; 15],
    places: [Place; PLACES],
}

const _: () = assert!(size_of::<Registry>() == 32 * rt::abi::layout::PAGE as usize);

impl Place {
    /// The session that it belongs to.
    pub fn owner(&self) -> Option<u32> {
        self.owner.checked_sub(1)
    }

    /// Whether there can be such a place.
    fn is_sound(&self) -> bool {
        self.version == 0
            || (self.version < VERSION_LIMIT
                && self.key.is_key()
                && self.hash == self.key.hash()
                && self.value.is_sound()
                && self.owner <= MAX_SESSION)
    }
}

/// One more than the greatest number of a session.
const MAX_SESSION: u32 = 1 << 16;

impl Registry {
    /// The places that hold something.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.version > 0)
    }

    /// The entries of all sessions.
    pub fn entries(&self) -> impl Iterator<Item = &Place> {
        self.places().filter(|place| place.owner > 0)
    }

    /// The greatest version of all.
    pub fn top(&self) -> u64 {
        self.places().map(|place| place.version).fold(self.forgotten, u64::max)
    }

    /// Empties places that make no sense; returns whether there were any. What they held may have been a withdrawal.
    pub fn mend(&mut self) -> bool {
        let mut mended = false;
        if self.forgotten >= VERSION_LIMIT {
            (self.forgotten, mended) = (0, true);
        }
        // First what is none, then what would not be found.
        for check in [|registry: &Registry, at: usize| registry.places[at].is_sound(), Registry::is_at_home] {
            for at in 0..PLACES {
                if !check(self, at) {
                    (self.places[at], mended) = (Place::new_zeroed(), true);
                }
            }
        }
        if mended {
            self.forgotten = self.top() + 1;
        }
        mended
    }

    /// The places in the order in which a key is looked for: entries are found early where there are few.
    fn order(hash: u32) -> impl Iterator<Item = usize> {
        let start = hash as usize % PLACES;
        (start..PLACES).chain(0..start)
    }

    fn position(&self, key: &Key) -> Option<usize> {
        let hash = key.hash();
        Registry::order(hash).find(|at| {
            let place = &self.places[*at];
            place.hash == hash && place.version > 0 && place.key == *key
        })
    }

    /// The place of a key, published or withdrawn.
    pub fn find(&self, key: &Key) -> Option<&Place> {
        self.position(key).map(|at| &self.places[at])
    }

    /// Enters a key of a session: in its place, in a free one, or in that of the oldest withdrawal, which is then forgotten. Whether
    /// there was one.
    pub fn put(&mut self, key: &Key, value: &Value, version: u64, (owner, domain): (u32, u32)) -> bool {
        let hash = key.hash();
        let place = self.position(key).or_else(|| Registry::order(hash).find(|at| self.places[*at].version == 0));
        let Some(at) = place.or_else(|| self.oldest_withdrawal()) else { return false };
        let place = &mut self.places[at];
        if place.version > 0 && place.key != *key {
            self.forgotten = self.forgotten.max(place.version);
        }
        *place = Place { version, owner: owner + 1, domain, hash, key: *key, value: *value, unused: [0; 10] };
        true
    }

    fn oldest_withdrawal(&self) -> Option<usize> {
        let withdrawn = (0..PLACES).filter(|at| self.places[*at].owner == 0);
        withdrawn.min_by_key(|at| self.places[*at].version)
    }

    /// Marks a key as withdrawn.
    pub fn withdraw(&mut self, key: &Key, version: u64) {
        if let Some(at) = self.position(key) {
            let place = &mut self.places[at];
            (place.version, place.owner, place.domain, place.value) = (version, 0, 0, Value::EMPTY);
        }
    }

    /// Whether this is the one place of its key.
    fn is_at_home(&self, at: usize) -> bool {
        self.places[at].version == 0 || self.position(&self.places[at].key) == Some(at)
    }

    /// Whether all places make sense, and no key has two.
    pub fn is_sound(&self) -> bool {
        (0..PLACES).all(|at| self.places[at].is_sound() && self.is_at_home(at))
    }
}
