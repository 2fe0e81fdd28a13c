//! `#[interface]`: trait, client, entries, branch table.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Error, ItemTrait, LitStr, Result, Token, TraitItem, Visibility};

use crate::method::Method;

/// The most methods that an interface can have: the manifest has a bit for each.
const MAX_METHODS: usize = 64;
/// The longest name of a service, in bytes.
const MAX_NAME: usize = 16;

/// `name = "tally"`.
struct Arguments {
    name: LitStr,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key: syn::Ident = input.parse()?;
        if key != "name" {
            return Err(Error::new(key.span(), "`interface` takes `name = \"...\"`: the service that `bind` asks for"));
        }
        input.parse::<Token![=]>()?;
        let name: LitStr = input.parse()?;
        let text = name.value();
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::new(name.span(), "the name of a service has 1 to 16 visible ASCII characters"));
        }
        Ok(Arguments { name })
    }
}

pub fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let Arguments { name } = syn::parse2(arguments)?;
    let mut interface: ItemTrait = syn::parse2(item)?;
    if !interface.generics.params.is_empty() || !interface.supertraits.is_empty() {
        return Err(Error::new_spanned(&interface.ident, "an interface has no generics and no supertraits"));
    }
    if !matches!(interface.vis, Visibility::Public(_)) {
        return Err(Error::new_spanned(&interface.ident, "an interface is `pub`: clients and service meet in it"));
    }
    let mut methods = Vec::new();
    for item in &mut interface.items {
        let TraitItem::Fn(declaration) = item else {
            return Err(Error::new_spanned(item, "an interface has methods only"));
        };
        let number = methods.len() as u16;
        let method = Method::parse(number, declaration.clone())?;
        *declaration = method.declaration.clone();
        methods.push(method);
    }
    if methods.is_empty() || methods.len() > MAX_METHODS {
        return Err(Error::new_spanned(&interface.ident, "an interface has 1 to 64 methods"));
    }
    interface.supertraits.push(syn::parse_quote!(::rt::Service));
    let client = client(&interface, &name, &methods);
    let entries = entries(&interface, &methods);
    Ok(quote! {
        #[allow(clippy::too_many_arguments)] // as many as there are registers
        #interface
        #client
        #entries
    })
}

/// The typed client.
fn client(interface: &ItemTrait, name: &LitStr, methods: &[Method]) -> TokenStream {
    let client = format_ident!("{}Client", interface.ident);
    let doc =
        format!("A session with a service of the interface [`{}`]. Dropping it closes the session.", interface.ident);
    let stubs = methods.iter().map(Method::stub);
    quote! {
        #[doc = #doc]
        #[derive(Debug)]
        pub struct #client {
            binding: ::rt::client::Binding,
        }

        #[allow(clippy::too_many_arguments)] // as many as there are registers
        impl #client {
            /// The name of the service.
            pub const NAME: &'static str = #name;

            /// Opens a session.
            ///
            /// # Errors
            /// As `rt::sys::bind`.
            pub fn bind() -> ::core::result::Result<Self, ::rt::Error> {
                Self::bind_to(Self::NAME)
            }

            /// Opens a session with another service of the same interface.
            ///
            /// # Errors
            /// As `rt::sys::bind`.
            pub fn bind_to(service: &str) -> ::core::result::Result<Self, ::rt::Error> {
                Ok(Self { binding: ::rt::client::Binding::open(service, ::rt::Events::empty())? })
            }

            /// Opens a session whose notifications set these bits of the caller's events.
            ///
            /// # Errors
            /// As `rt::sys::bind`.
            pub fn bind_notified(notify: ::rt::Events) -> ::core::result::Result<Self, ::rt::Error> {
                Ok(Self { binding: ::rt::client::Binding::open(Self::NAME, notify)? })
            }

            /// Closes the session and says whether that worked.
            ///
            /// # Errors
            /// As `rt::sys::unbind`.
            pub fn unbind(self) -> ::core::result::Result<(), ::rt::Error> {
                self.binding.close()
            }

            /// The session's handle, as the kernel knows it.
            pub fn handle(&self) -> ::rt::abi::Handle {
                self.binding.handle()
            }

            #(#stubs)*
        }
    }
}

/// The functions behind the branch table, and the macro that writes the table for a service.
fn entries(interface: &ItemTrait, methods: &[Method]) -> TokenStream {
    let name = &interface.ident;
    let holder = format_ident!("{}Entries", name);
    let functions = methods.iter().map(|method| method.entry(name));
    let table = table(methods);
    let symbols = |plan: &TokenStream, prefix: &str| -> Vec<TokenStream> {
        methods
            .iter()
            .map(|method| {
                let key = format_ident!("{prefix}{}", method.number);
                let function = &method.declaration.sig.ident;
                quote!(#key = sym $crate::#holder::#function::<$object, #plan>)
            })
            .collect()
    };
    let normal = symbols(&quote!(::rt::server::Normal), "m");
    let sabotaged = symbols(&quote!(::rt::server::Sabotaged), "s");
    quote! {
        #[doc(hidden)]
        pub struct #holder;

        #[allow(clippy::too_many_arguments)] // as many as there are registers
        impl #holder {
            #(#functions)*
        }

        #[doc(hidden)]
        #[macro_export]
        macro_rules! #name {
            ($object:ty) => {
                ::core::arch::global_asm!(#(#table,)* #(#normal,)* #(#sabotaged,)*);
            };
        }
    }
}

/// The assembly of the call entry.
///
/// In: r7 = call word, method in bits 8-23, checked by the kernel; r0-r5 arguments; sp the top of the stack. The
/// table has two instructions a method: a function that takes more than r0-r3 finds r4 and r5 on the stack, as the
/// procedure call standard wants. Nothing here returns.
fn table(methods: &[Method]) -> Vec<TokenStream> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = |text: &str| lines.push(text.to_owned());
    line(".pushsection .text.entry, \"ax\", %progbits");
    line(".arm");
    line(".p2align 2");
    let mut entry = |symbol: &str, first: &[&str], prefix: &str| {
        line(&format!(".global {symbol}"));
        line(&format!(".type {symbol}, %function"));
        line(&format!("{symbol}:"));
        first.iter().for_each(|text| line(text));
        line("uxth r12, r7, ror #8"); // the method
        line("add pc, pc, r12, lsl #3"); // pc reads as the table's start
        line("udf #0");
        for method in methods {
            let branch = format!("b {{{prefix}{}}}", method.number);
            if method.on_stack() {
                line("push {{r4, r5}}");
                line(&branch);
            } else {
                line(&branch);
                line("nop");
            }
        }
    };
    entry("__po_call", &[], "m");
    // Entered by `rt::server` as a function of r0-r7, the last four on the stack.
    entry("__po_sabotaged", &["ldr r4, [sp]", "ldr r5, [sp, #4]", "ldr r7, [sp, #12]"], "s");
    line(".popsection");
    let bits = methods.iter().filter(|method| method.read_only).fold(0u64, |bits, method| bits | 1 << method.number);
    for (symbol, value) in [
        ("__po_methods", methods.len() as u64),
        ("__po_read_only_low", bits & 0xffff_ffff),
        ("__po_read_only_high", bits >> 32),
    ] {
        line(&format!(".global {symbol}"));
        line(&format!(".set {symbol}, {value:#x}"));
    }
    lines.iter().map(|text| text.to_token_stream()).collect()
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::expand;

    #[test]
    fn numbers_methods_in_their_order_and_marks_the_read_only_ones() {
        let code = expand(
            quote!(name = "sample"),
            quote! {
                pub trait Sample {
                    fn first(&mut self, s: &mut Session<Self::State>) -> Result<(), E>;
                    #[read_only]
                    fn second(&mut self, s: &mut Session<Self::State>, a: LentWrite<'_>) -> Result<u32, E>;
                }
            },
        );
        let code = code.unwrap().to_string();
        assert!(code.contains(".set __po_methods, 0x2"), "{code}");
        assert!(code.contains(".set __po_read_only_low, 0x2"), "{code}");
        assert!(code.contains("call :: < 0u16"), "{code}");
        assert!(code.contains("call_writing :: < 1u16"), "{code}");
        assert!(!code.contains("# [read_only]"), "{code}");
    }

    #[test]
    fn refuses_what_is_no_interface() {
        let refused = |arguments, item| expand(arguments, item).unwrap_err().to_string();
        let trait_ = quote! { pub trait T { fn f(&mut self, s: &mut S) -> Result<(), E>; } };
        assert!(refused(quote!(named = "x"), trait_.clone()).contains("takes `name"));
        assert!(refused(quote!(name = "a name of many letters"), trait_).contains("1 to 16"));
        assert!(refused(quote!(name = "x"), quote! { pub trait T {} }).contains("1 to 64 methods"));
        assert!(refused(quote!(name = "x"), quote! { trait T { fn f(&mut self); } }).contains("`pub`"));
        assert!(refused(quote!(name = "x"), quote! { pub trait T { const A: u32; } }).contains("methods only"));
    }
}
