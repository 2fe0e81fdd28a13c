//! What a client asks for: a request's head, taken apart.

use alloc::string::String;
use alloc::vec::Vec;

use httparse::{EMPTY_HEADER, Status};

/// Bytes of the longest head.
pub const HEAD_MAX: usize = 4096;
/// The most header fields.
const FIELDS: usize = 48;
/// Bytes of the longest path.
const PATH_MAX: usize = 512;

/// What is done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Send it.
    Get,
    /// Send what `Get` would send, without the content.
    Head,
    /// Store what follows.
    Put,
}

/// Part of a file (RFC 9110, 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// From this byte on, to this one or to the end.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

impl Range {
    /// First byte and number of bytes in a file of this length; `None`: it has no such part.
    pub fn of(self, length: u64) -> Option<(u64, u64)> {
        let (first, last) = match self {
            Range::From(first, last) => (first, last.map_or(length, |last| last.saturating_add(1)).min(length)),
            Range::Last(count) => (length - count.min(length), length),
        };
        (first < last).then(|| (first, last - first))
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is done.
    pub method: Method,
    /// With what: a path without `.`, `..` or a slash at its ends; empty for the root.
    pub path: String,
    /// The path ended with a slash.
    pub slash: bool,
    /// The part that is wanted.
    pub range: Option<Range>,
    /// Bytes that follow the head.
    pub length: u64,
    /// The client sends them only when told to go on.
    pub expects: bool,
    /// The connection stays open.
    pub keep: bool,
}

/// A request that is refused, with this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub u16);

/// Takes the head at the start of the bytes apart; returns the request and the bytes of the head. `None`: it has not come
/// whole.
///
/// # Errors
/// The status to answer with; nothing more can be understood on this connection.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(Status::Complete(length)) if length <= HEAD_MAX => length,
        Ok(Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal(431)),
        Err(_) => return Err(Refusal(400)),
    };
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("PUT") => Method::Put,
        _ => return Err(Refusal(405)),
    };
    let (path, slash) = path(head.path.unwrap_or_default()).ok_or(Refusal(400))?;
    // RFC 9112, 9.3: 1.1 keeps connections, 1.0 does not.
    let mut request =
        Request { method, path, slash, range: None, length: 0, expects: false, keep: head.version == Some(1) };
    let mut lengths = 0;
    for field in head.headers.iter() {
        let value = core::str::from_utf8(field.value).map_err(|_| Refusal(400))?.trim();
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            lengths += 1;
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            request.length = value.parse().ok().filter(|_| digits && lengths == 1).ok_or(Refusal(400))?;
        } else if is("transfer-encoding") {
            // A body whose length is not known; only PUT has one here.
            return Err(Refusal(411));
        } else if is("range") {
            request.range = range(value);
        } else if is("connection") {
            let has = |token: &str| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(token));
            request.keep = (request.keep || has("keep-alive")) && !has("close");
        } else if is("expect") {
            if !value.eq_ignore_ascii_case("100-continue") {
                return Err(Refusal(417));
            }
            request.expects = true;
        }
    }
    if method == Method::Put && lengths == 0 {
        return Err(Refusal(411));
    }
    Ok(Some((request, length)))
}

/// A single range; anything else is as if nothing was asked (RFC 9110, 14.2).
fn range(value: &str) -> Option<Range> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", last) => Some(Range::Last(last.parse().ok()?)),
        (first, "") => Some(Range::From(first.parse().ok()?, None)),
        (first, last) => {
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(Range::From(first, Some(last)))
        }
    }
}

/// The path of a request target (RFC 3986), decoded, and whether it ended with a slash. `None`: it is none that may be asked for.
fn path(target: &str) -> Option<(String, bool)> {
    let target = target.split(['?', '#']).next()?.strip_prefix('/')?;
    let mut bytes = Vec::new();
    let mut rest = target.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                (digit()? * 16 + digit()?) as u8
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).ok().filter(|text| text.len() <= PATH_MAX)?;
    if text.contains(|letter: char| letter.is_control() || letter == '\\') {
        return None;
    }
    let mut path = String::new();
    for part in text.split('/').filter(|part| !part.is_empty()) {
        if part == "." || part == ".." {
            return None;
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(part);
    }
    Some((path, text.is_empty() || text.ends_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(head: &str) -> Result<Request, u16> {
        match parse(head.as_bytes()) {
            Ok(Some((request, length))) => {
                assert_eq!(length, head.len());
                Ok(request)
            }
            Ok(None) => Err(0),
            Err(Refusal(status)) => Err(status),
        }
    }

    #[test]
    fn a_request_is_understood() {
        let request = get("GET /a%20b/%C3%A4.txt?x=1 HTTP/1.1\r\nHost: x\r\nRange: bytes=5-9\r\n\r\n").unwrap();
        assert_eq!((request.method, &*request.path, request.slash), (Method::Get, "a b/ä.txt", false));
        assert_eq!((request.range, request.keep), (Some(Range::From(5, Some(9))), true));
        let request =
            get("PUT //dir//f HTTP/1.1\r\nContent-Length: 12\r\nExpect: 100-Continue\r\nConnection: close\r\n\r\n");
        let request = request.unwrap();
        assert_eq!((request.length, request.expects, request.keep, &*request.path), (12, true, false, "dir/f"));
        assert!(get("HEAD / HTTP/1.0\r\n\r\n").unwrap().slash);
        assert!(!get("GET / HTTP/1.0\r\n\r\n").unwrap().keep);
        assert!(get("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap().keep);
    }

    #[test]
    fn bad_requests_are_refused() {
        for (head, status) in [
            ("GET /../x HTTP/1.1\r\n\r\n", 400),
            ("GET /%2e%2e/x HTTP/1.1\r\n\r\n", 400),
            ("GET /%00 HTTP/1.1\r\n\r\n", 400),
            ("GET /%ff HTTP/1.1\r\n\r\n", 400),
            ("GET /%4 HTTP/1.1\r\n\r\n", 400),
            ("GET x HTTP/1.1\r\n\r\n", 400),
            ("GET http://x/ HTTP/1.1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\n\r\n", 405),
            ("PUT /x HTTP/1.1\r\n\r\n", 411),
            ("PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
            ("PUT /x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
            ("PUT /x HTTP/1.1\r\nContent-Length: +1\r\n\r\n", 400),
            ("PUT /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
            ("PUT /x HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nExpect: miracle\r\n\r\n", 417),
            ("GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\n\r\n", 400),
            ("\0\0\0\0\0", 400),
            ("GET / HTTP/1.1\r\n", 0),
        ] {
            assert_eq!(get(head).map(|_| ()), Err(status), "{head:?}");
        }
        let long = alloc::format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HEAD_MAX));
        assert_eq!(get(&long).map(|_| ()), Err(431));
        let many = alloc::format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FIELDS + 1));
        assert_eq!(get(&many).map(|_| ()), Err(431));
    }

    #[test]
    fn parts_of_a_file() {
        for (text, length, part) in [
            ("bytes=0-", 10, Some((0, 10))),
            ("bytes=3-4", 10, Some((3, 2))),
            ("bytes=3-99", 10, Some((3, 7))),
            ("bytes=-4", 10, Some((6, 4))),
            ("bytes=-99", 10, Some((0, 10))),
            ("bytes=10-", 10, None),
            ("bytes=-0", 10, None),
            ("bytes=0-", 0, None),
            ("bytes=0-18446744073709551615", 10, Some((0, 10))),
        ] {
            assert_eq!(range(text).unwrap().of(length), part, "{text}");
        }
        for text in ["bytes=4-3", "bytes=a-", "lines=1-2", "bytes=1-2,4-5", "bytes=", "bytes=-"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
