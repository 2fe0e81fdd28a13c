//! `#[derive(SsrState)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, LitInt, Path, Result};

pub fn expand(item: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let mut version = 1u32;
    let mut pages = None::<u32>;
    let mut validate = None::<Path>;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("ssr")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("version") {
                version = meta.value()?.parse::<LitInt>()?.base10_parse()?;
            } else if meta.path.is_ident("pages") {
                pages = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
            } else if meta.path.is_ident("validate") {
                validate = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error("`ssr` takes `version = N`, `pages = N` and `validate = path`"));
            }
            Ok(())
        })?;
    }
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "the state of a session has no generic parameters"));
    }
    let name = &input.ident;
    let tag = tag(&name.to_string(), version);
    let pages = match pages {
        Some(pages) => quote!(#pages),
        None => quote! {
            (::rt::abi::ssr::HEADER as usize + ::core::mem::size_of::<#name>()).div_ceil(::rt::abi::layout::PAGE as usize) as u32
        },
    };
    let validate = validate.map(|path| {
        quote! {
            fn validate(&self) -> bool {
                #path(self)
            }
        }
    });
    Ok(quote! {
        impl ::rt::SsrState for #name {
            const TAG: u32 = #tag;
            const PAGES: u32 = {
                let pages = #pages;
                assert!(
                    pages >= 1 && pages <= ::rt::abi::layout::SSR_MAX_PAGES,
                    "an SSR has 1 to 256 pages"
                );
                pages
            };
            #validate
        }
    })
}

/// The tag of a type: FNV-1a over its name and version, never 0.
fn tag(name: &str, version: u32) -> u32 {
    let bytes = name.bytes().chain(version.to_le_bytes());
    let hash = bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::{expand, tag};

    #[test]
    fn tags_follow_name_and_version() {
        assert_ne!(tag("State", 1), tag("State", 2));
        assert_ne!(tag("State", 1), tag("Other", 1));
        assert_eq!(tag("State", 1), tag("State", 1));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        let unknown = expand(quote! { #[ssr(size = 3)] struct State { a: u32 } });
        assert!(unknown.unwrap_err().to_string().contains("`ssr` takes"));
        let generic = expand(quote! { struct State<T> { a: T } });
        assert!(generic.unwrap_err().to_string().contains("generic"));
    }

    #[test]
    fn validation_is_the_path_given() {
        let code = expand(quote! { #[ssr(version = 3, pages = 2, validate = check)] struct State { a: u32 } });
        let code = code.unwrap().to_string();
        assert!(code.contains("check (self)"), "{code}");
        assert!(code.contains("2u32"), "{code}");
    }
}
