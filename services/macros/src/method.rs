//! One method of an interface: what it takes, and in which registers.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, Error, FnArg, Pat, Result, ReturnType, TraitItemFn, Type};

/// A method.
pub struct Method {
    /// The method's number.
    pub number: u16,
    /// The declaration, without the attributes that are the macro's own.
    pub declaration: TraitItemFn,
    /// Whether it is declared read-only.
    pub read_only: bool,
    /// Its arguments behind `self` and the session, in order.
    pub arguments: Vec<Argument>,
    /// `T` and `E` of its result.
    pub ok: Type,
    /// See `ok`.
    pub err: Type,
}

/// An argument.
pub struct Argument {
    pub name: Ident,
    pub ty: Type,
    pub kind: Kind,
}

/// How an argument travels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In this register.
    Word(usize),
    /// Low and high word in these registers.
    Long(usize, usize),
    /// A range in r2 and r3.
    LentRead,
    /// A range in r4 and r5.
    LentWrite,
}

impl Method {
    /// Takes a declaration apart.
    pub fn parse(number: u16, mut declaration: TraitItemFn) -> Result<Method> {
        let signature = &declaration.sig;
        if !signature.generics.params.is_empty() || signature.asyncness.is_some() || declaration.default.is_some() {
            let text = "a method of an interface is a plain declaration: no generics, no async, no body";
            return Err(Error::new_spanned(signature, text));
        }
        let mut inputs = signature.inputs.iter();
        match inputs.next() {
            Some(FnArg::Receiver(receiver)) if receiver.mutability.is_some() && receiver.reference.is_some() => {}
            _ => return Err(Error::new_spanned(signature, "a method of an interface takes `&mut self`")),
        }
        match inputs.next() {
            Some(FnArg::Typed(session)) if matches!(*session.ty, Type::Reference(_)) => {}
            _ => {
                let text = "behind `&mut self` a method takes `session: &mut Session<Self::State>`";
                return Err(Error::new_spanned(signature, text));
            }
        }
        let mut arguments = Vec::new();
        for input in inputs {
            let FnArg::Typed(input) = input else { continue };
            let Pat::Ident(name) = &*input.pat else {
                return Err(Error::new_spanned(&input.pat, "an argument of an interface has a plain name"));
            };
            arguments.push((name.ident.clone(), (*input.ty).clone()));
        }
        let arguments = assign(arguments)?;
        let (ok, err) = result(&signature.output).ok_or_else(|| {
            Error::new_spanned(signature, "a method of an interface returns `Result<T, E>`, with both types named")
        })?;
        let read_only = declaration.attrs.iter().any(is_read_only);
        declaration.attrs.retain(|attribute| !is_read_only(attribute));
        Ok(Method { number, declaration, read_only, arguments, ok, err })
    }

    /// Whether it takes r4 or r5, which the procedure call standard passes on the stack.
    pub fn on_stack(&self) -> bool {
        self.arguments.iter().any(|argument| match argument.kind {
            Kind::Word(register) => register >= 4,
            Kind::Long(low, high) => low >= 4 || high >= 4,
            Kind::LentRead => false,
            Kind::LentWrite => true,
        })
    }

    /// The function that the branch table leads to.
    pub fn entry(&self, interface: &Ident) -> TokenStream {
        let name = &self.declaration.sig.ident;
        let count = if self.on_stack() { 6 } else { 4 };
        let registers: Vec<_> = (0..count).map(register).collect();
        let values = self.arguments.iter().map(|Argument { name, ty, kind }| match kind {
            Kind::Word(at) => {
                let at = register(*at);
                quote! { let #name = <#ty as ::rt::Word>::from_word(#at)?; }
            }
            Kind::Long(low, high) => {
                let (low, high) = (register(*low), register(*high));
                quote! { let #name = (u64::from(#high) << 32 | u64::from(#low)) as #ty; }
            }
            Kind::LentRead => quote! { let #name = ::rt::LentRead::of_call(r3); },
            Kind::LentWrite => quote! { let #name = ::rt::LentWrite::of_call(r5); },
        });
        let names = self.arguments.iter().map(|argument| &argument.name);
        let (ok, err) = (&self.ok, &self.err);
        quote! {
            #[allow(improper_ctypes_definitions)] // `Activation` has no size: no register, no stack
            #[allow(unused_variables)] // registers that carry nothing
            #[allow(clippy::unnecessary_cast)]
            pub extern "C" fn #name<O, P>(activation: ::rt::server::Activation, #(#registers: u32),*) -> !
            where
                O: ::rt::server::Object,
                O::Service: #interface,
                P: ::rt::server::Plan,
            {
                activation.method::<O, P, #ok, #err>(|service, session| {
                    #(#values)*
                    Some(#interface::#name(service, session, #(#names),*))
                })
            }
        }
    }

    /// The client's method.
    pub fn stub(&self) -> TokenStream {
        let name = &self.declaration.sig.ident;
        let docs = self.declaration.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
        let (ok, err) = (&self.ok, &self.err);
        let number = self.number;
        let parameters = self.arguments.iter().map(|Argument { name, ty, kind }| match kind {
            Kind::LentRead => quote!(#name: &[u8]),
            Kind::LentWrite => quote!(#name: &mut [u8]),
            Kind::Word(_) | Kind::Long(..) => quote!(#name: #ty),
        });
        let mut registers = vec![quote!(::rt::arch::UNUSED); 6];
        let mut lent = Vec::new();
        for Argument { name, kind, .. } in &self.arguments {
            match kind {
                Kind::Word(at) => registers[*at] = quote!(::rt::arch::used(::rt::Word::into_word(#name))),
                Kind::Long(low, high) => {
                    registers[*low] = quote!(::rt::arch::used(#name as u32));
                    registers[*high] = quote!(::rt::arch::used((#name as u64 >> 32) as u32));
                }
                Kind::LentRead | Kind::LentWrite => {}
            }
        }
        let find = |kind| self.arguments.iter().find(|argument| argument.kind == kind).map(|argument| &argument.name);
        let (read, write) = (find(Kind::LentRead), find(Kind::LentWrite));
        lent.extend(read);
        lent.extend(write);
        let call = match (read, write) {
            (None, None) => quote!(call),
            (Some(_), None) => quote!(call_reading),
            (None, Some(_)) => quote!(call_writing),
            (Some(_), Some(_)) => quote!(call_reading_writing),
        };
        quote! {
            #(#docs)*
            ///
            /// # Errors
            /// Those of the service, and what the kernel has to say of the call.
            #[inline(always)]
            pub fn #name(&self, #(#parameters),*) -> ::core::result::Result<#ok, ::rt::CallError<#err>> {
                self.binding.#call::<#number, #ok, #err>([#(#registers),*], #(#lent),*)
            }
        }
    }
}

/// The name of a register's argument.
fn register(number: usize) -> Ident {
    format_ident!("r{number}")
}

fn is_read_only(attribute: &Attribute) -> bool {
    attribute.path().is_ident("read_only")
}

/// Gives each argument its registers: lent ranges their fixed ones, the rest what is left, in order.
fn assign(arguments: Vec<(Ident, Type)>) -> Result<Vec<Argument>> {
    let mut free = vec![0, 1, 2, 3, 4, 5];
    for (_, ty) in &arguments {
        let (taken, what) = match last_name(ty).as_deref() {
            Some("LentRead") => ([2, 3], "`LentRead`"),
            Some("LentWrite") => ([4, 5], "`LentWrite`"),
            _ => continue,
        };
        let before = free.len();
        free.retain(|register| !taken.contains(register));
        if free.len() == before {
            return Err(Error::new_spanned(ty, format!("a method takes at most one {what}")));
        }
    }
    let mut free = free.into_iter();
    let mut next = |ty: &Type| {
        free.next().ok_or_else(|| {
            let text = "the arguments do not fit into the registers: six words r0-r5 in all, of which a \
                        `LentRead` takes r2, r3 and a `LentWrite` r4, r5; pass more in a lent range";
            Error::new_spanned(ty, text)
        })
    };
    arguments
        .into_iter()
        .map(|(name, ty)| {
            let kind = match last_name(&ty).as_deref() {
                Some("LentRead") => Kind::LentRead,
                Some("LentWrite") => Kind::LentWrite,
                Some("u64" | "i64") => Kind::Long(next(&ty)?, next(&ty)?),
                _ if matches!(ty, Type::Reference(_)) => {
                    let text = "no references between address spaces: a range of bytes is lent with `LentRead<'_>` or `LentWrite<'_>`";
                    return Err(Error::new_spanned(ty, text));
                }
                _ => Kind::Word(next(&ty)?),
            };
            Ok(Argument { name, ty, kind })
        })
        .collect()
}

/// The last part of a type's path.
fn last_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

/// `T` and `E` of a return type `Result<T, E>`.
fn result(output: &ReturnType) -> Option<(Type, Type)> {
    let ReturnType::Type(_, ty) = output else { return None };
    let Type::Path(path) = &**ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Result")?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    let mut types = arguments.args.iter().map(|argument| match argument {
        syn::GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    match (types.next()??, types.next()??, types.next()) {
        (ok, err, None) => Some((ok, err)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn kinds(declaration: TraitItemFn) -> Vec<Kind> {
        Method::parse(0, declaration).unwrap().arguments.iter().map(|argument| argument.kind).collect()
    }

    fn refused(declaration: TraitItemFn) -> String {
        Method::parse(0, declaration).err().expect("refused").to_string()
    }

    impl std::fmt::Debug for Kind {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match self {
                Kind::Word(at) => write!(f, "r{at}"),
                Kind::Long(low, high) => write!(f, "r{low}:r{high}"),
                Kind::LentRead => write!(f, "read"),
                Kind::LentWrite => write!(f, "write"),
            }
        }
    }

    #[test]
    fn plain_arguments_take_the_registers_that_lent_ranges_leave() {
        let all = kinds(parse_quote! {
            fn f(&mut self, s: &mut Session<Self::State>, a: u32, data: LentRead<'_>, b: u32, c: u32) -> Result<(), E>;
        });
        assert_eq!(all, [Kind::Word(0), Kind::LentRead, Kind::Word(1), Kind::Word(4)]);
        let long = kinds(parse_quote! {
            fn f(&mut self, s: &mut Session<Self::State>, a: bool, to: rt::LentWrite<'_>, b: u64) -> Result<(), E>;
        });
        assert_eq!(long, [Kind::Word(0), Kind::LentWrite, Kind::Long(1, 2)]);
    }

    #[test]
    fn only_what_needs_the_stack_uses_it() {
        let parse = |declaration| Method::parse(0, declaration).unwrap().on_stack();
        assert!(!parse(parse_quote! {
            fn f(&mut self, s: &mut Session<Self::State>, a: u64, b: u64) -> Result<(), E>;
        }));
        assert!(parse(parse_quote! {
            fn f(&mut self, s: &mut Session<Self::State>, a: u64, b: u64, c: u8) -> Result<(), E>;
        }));
        assert!(parse(parse_quote! {
            fn f(&mut self, s: &mut Session<Self::State>, to: LentWrite<'_>) -> Result<(), E>;
        }));
    }

    #[test]
    fn says_what_does_not_fit() {
        let text = refused(parse_quote! {
            fn f(&mut self, s: &mut Session<Self::State>, a: u64, b: LentRead, c: LentWrite, d: u8) -> Result<(), E>;
        });
        assert!(text.contains("do not fit"), "{text}");
        let text = refused(parse_quote! {
            fn f(&mut self, s: &mut Session<Self::State>, a: LentRead, b: LentRead) -> Result<(), E>;
        });
        assert!(text.contains("at most one `LentRead`"), "{text}");
        let text = refused(parse_quote! {
            fn f(&mut self, s: &mut Session<Self::State>, a: &[u8]) -> Result<(), E>;
        });
        assert!(text.contains("no references"), "{text}");
        assert!(refused(parse_quote! { fn f(&self, s: &mut S) -> Result<(), E>; }).contains("`&mut self`"));
        assert!(refused(parse_quote! { fn f(&mut self, a: u32) -> Result<(), E>; }).contains("`session:"));
        assert!(refused(parse_quote! { fn f(&mut self, s: &mut S) -> u32; }).contains("returns `Result<T, E>`"));
    }

    #[test]
    fn read_only_is_taken_off_the_declaration() {
        let method = Method::parse(
            3,
            parse_quote! {
                #[read_only]
                /// Doc.
                fn f(&mut self, s: &mut Session<Self::State>) -> Result<(), E>;
            },
        )
        .unwrap();
        assert!(method.read_only);
        assert_eq!(method.declaration.attrs.len(), 1);
    }
}
