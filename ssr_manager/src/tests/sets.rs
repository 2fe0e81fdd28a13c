//! Sets of bindings against those of the standard library.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::set::Set;
use crate::{BindingId, MAX_BINDINGS};

/// Indices that meet in a word, in neighbouring words, at the ends and far apart.
fn index() -> impl Strategy<Value = u16> {
    let last = MAX_BINDINGS as u16 - 1;
    prop_oneof![4 => 0..=last, 2 => 20..40_u16, 2 => 1000..1060_u16, 1 => Just(0), 1 => last - 1..=last]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_set_is_a_set(toggled in prop::collection::vec(index(), 0..80), after in prop::collection::vec(index(), 20)) {
        let (mut set, mut expected) = (Box::new(Set::INITIAL), BTreeSet::new());
        for index in toggled {
            let joins = expected.insert(index);
            if !joins {
                expected.remove(&index);
            }
            set.put(BindingId::new(index), joins);
            prop_assert_eq!(set.len(), expected.len());
            let members: Vec<_> = set.after(None).map(BindingId::index).collect();
            prop_assert_eq!(members, expected.iter().map(|index| usize::from(*index)).collect::<Vec<_>>());
        }
        for last in after {
            let next = expected.range(last + 1..).next().copied();
            prop_assert_eq!(set.next(Some(BindingId::new(last))), next.map(BindingId::new));
        }
    }
}
