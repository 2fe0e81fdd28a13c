//! The two macros of the runtime: [`interface`] and [`SsrState`]. Used through `rt`, which re-exports them.
#![forbid(unsafe_code)]

mod interface;
mod method;
mod state;

use proc_macro::TokenStream;

/// Makes an interface of a trait: the methods' numbers, the dispatch of a server, and a typed client.
///
/// ```text
/// /// Adds up numbers.
/// #[interface(name = "tally")]
/// pub trait Tally {
///     /// Adds `amount`; returns the sum.
///     fn add(&mut self, session: &mut Session<Self::State>, amount: u32) -> Result<u32, TallyError>;
///     /// The sum.
///     #[read_only]
///     fn sum(&mut self, session: &mut Session<Self::State>) -> Result<u32, TallyError>;
/// }
/// ```
///
/// The trait must be in the library of its service's package. Methods are numbered in their order, from 0, and
/// take, behind `self` and the session:
/// - plain values: anything that is `rt::Word` (`u32`, `i32`, `u16`, `u8`, `bool`, `char`, own types) in one
///   register, `u64` and `i64` in two;
/// - at most one `LentRead<'_>`, always in r2 and r3; the client passes a `&[u8]`;
/// - at most one `LentWrite<'_>`, always in r4 and r5; the client passes a `&mut [u8]`.
///
/// The six registers r0-r5 must hold them all. Results are `Result<T, E>` with `T: rt::Reply` (up to four words)
/// and `E: rt::ServiceError`. `#[read_only]` promises that the method changes no state.
///
/// Beside the trait there is then a client, named after it (`TallyClient`): `bind()`, `unbind()`, and the methods,
/// each returning `Result<T, CallError<E>>`; and a macro with the trait's name for `rt::service!`.
#[proc_macro_attribute]
pub fn interface(arguments: TokenStream, item: TokenStream) -> TokenStream {
    interface::expand(arguments.into(), item.into()).unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Makes a struct the state of sessions: implements `rt::SsrState`.
///
/// Goes with `zerocopy`'s four: `#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, SsrState)]` and
/// `#[repr(C)]`. The attribute `#[ssr(...)]` takes
/// - `version = N`: to be raised when the meaning of the fields changes (default 1);
/// - `pages = N`: pages of the SSR, where there is to be room for a tail (default: as the struct needs);
/// - `validate = path`: a `fn(&Self) -> bool` that says whether a restored state makes sense.
#[proc_macro_derive(SsrState, attributes(ssr))]
pub fn ssr_state(item: TokenStream) -> TokenStream {
    state::expand(item.into()).unwrap_or_else(|error| error.into_compile_error()).into()
}
