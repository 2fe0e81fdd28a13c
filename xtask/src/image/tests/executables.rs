//! Executables: good, bad and mutated ones.

use super::*;

#[test]
fn executables_are_stripped_to_segments() {
    let found = Executable::parse(&service(), true).expect("good");
    assert_eq!(
        (found.entry, found.hook, found.methods, found.read_only, found.ssr_pages),
        (TEXT, Some(TEXT + 8), 3, 1 << 32 | 4, 1)
    );
    assert_eq!(
        found.segments().map(|(_, part)| (part.bytes.len(), part.memory_size)),
        [(40, 40), (5000, 5000), (8, 9000)]
    );
    let found = Executable::parse(&executable(&[(TEXT, READ_EXECUTE, &[1; 4], 4)], &[]), false)
        .expect("a program needs no symbols");
    assert_eq!((found.hook, found.data.memory_size), (None, 0));
}

#[test]
fn executables_that_cannot_be_protected_are_refused() {
    let text = (TEXT, READ_EXECUTE, &[1u8; 4][..], 4);
    let cases: [(&[Part<'_>], &str); 6] = [
        (&[(TEXT, 7, &[1; 4], 4)], "writable and executable"),
        (&[text, (TEXT + 0x1004, READ, &[1; 4], 4)], "begin on a page"),
        (&[(0x1000, READ_EXECUTE, &[1; 4], 4)], "outside the room"),
        (&[text, (0x7f_f000, READ_WRITE, &[1; 4], 8192)], "outside the room"),
        (&[text, (TEXT + 0x1000, READ, &[1; 4], 4), (TEXT + 0x2000, READ, &[1; 4], 4)], "more than one"),
        (&[(TEXT, READ, &[1; 4], 4)], "no executable segment"),
    ];
    for (segments, reason) in cases {
        let error = format!("{:#}", Executable::parse(&executable(segments, &SYMBOLS), true).expect_err(reason));
        assert!(error.contains(reason), "{error}");
    }
    let error = Executable::parse(&executable(&[text], &SYMBOLS[1..]), true).expect_err("no hook").to_string();
    assert!(error.contains("__po_hook"), "{error}");
    assert!(Executable::parse(b"#!/bin/sh\n", false).is_err());
}

#[test]
fn truncated_and_mutated_executables_never_panic() {
    let good = service();
    for length in 0..good.len() {
        let _ = Executable::parse(&good[..length], true);
    }
    for at in 0..good.len().min(180) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            let _ = Executable::parse(&bad, true);
        }
    }
}
