//! A record and its initial value in one place.

/// Declares a struct whose fields say what they hold at first, and the constant `INITIAL` with just that.
///
/// Static pools are made of such records: `[Record::INITIAL; N]`, or `Record { field: value, ..Record::INITIAL }`.
/// Attributes, doc comments, the visibility of each field and parameters of the form `<const N: usize>` are as in any
/// struct. `INITIAL` is as visible as the struct.
///
/// ```
/// abi::initial! {
///     /// Frames that a domain holds.
///     #[derive(Clone, Copy)]
///     #[repr(C, align(16))]
///     pub struct Account {
///         /// The most it may hold.
///         pub quota: u32 = 64,
///         held: u32 = 0,
///     }
/// }
///
/// static ACCOUNTS: [Account; 2] = [Account { quota: 8, ..Account::INITIAL }, Account::INITIAL];
/// assert_eq!((ACCOUNTS[0].quota, ACCOUNTS[1].quota, ACCOUNTS[1].held), (8, 64, 0));
/// assert_eq!(align_of::<Account>(), 16);
/// ```
#[macro_export]
macro_rules! initial {
    (
        $(#[$attribute:meta])*
        $visible:vis struct $name:ident $(<$(const $parameter:ident: $kind:ty),+>)? {
            $($(#[$of_field:meta])* $field_visible:vis $field:ident: $type:ty = $value:expr),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        $visible struct $name $(<$(const $parameter: $kind),+>)? {
            $($(#[$of_field])* $field_visible $field: $type,)+
        }

        impl $(<$(const $parameter: $kind),+>)? $name $(<$($parameter),+>)? {
            /// What each field holds at first.
            $visible const INITIAL: Self = Self { $($field: $value),+ };
        }
    };
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    initial! {
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[repr(C, align(128))]
        struct Record {
            /// A document.
            pub a: u8 = b'a',
            pub(crate) b: Option<u32> = None,
            c: [u16; 3] = [1, 2, 3]
        }
    }

    initial! {
        pub(crate) struct Pool<const N: usize, const M: usize> {
            records: [Record; N] = [Record::INITIAL; N],
            taken: [bool; M] = [M > 1; M],
        }
    }

    #[test]
    fn a_record_is_an_ordinary_struct() {
        assert_eq!(Record::INITIAL, Record { a: b'a', b: None, c: [1, 2, 3] });
        assert_eq!((size_of::<Record>(), align_of::<Record>(), offset_of!(Record, b)), (128, 128, 4));
    }

    #[test]
    fn parameters_reach_the_values() {
        let pool = Pool::<2, 3>::INITIAL;
        assert_eq!((pool.records[1].c[2], pool.taken), (3, [true; 3]));
        assert_eq!(Pool::<1, 1>::INITIAL.taken, [false]);
    }
}
