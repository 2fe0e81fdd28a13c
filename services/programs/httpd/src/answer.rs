//! What is answered: heads, and the pages that are no files.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use abi::info::{ObjectInfo, ObjectState};
use fs::{Entries, FsClient, FsError, listing};
use net::{NetClient, Statistics};
use rt::{CallError, sys};
use zerocopy::{FromZeros, IntoBytes};

/// The page about the services, and what it asks for again and again.
pub const STATUS_PAGE: &str = "-/status";
/// See [`STATUS_PAGE`].
pub const STATUS_DATA: &str = "-/status.json";

/// The reason phrase of a status.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "Internal Server Error",
    }
}

/// A head: status, length of the content, and further fields, each with its line end.
pub fn head(status: u16, length: u64, kind: &str, keep: bool, fields: &str) -> String {
    let connection = if keep { "keep-alive" } else { "close" };
    let allow = if status == 405 { "Allow: GET, HEAD, PUT\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status} {}\r\nServer: curios-rs\r\nContent-Length: {length}\r\nContent-Type: {kind}\r\n\
         Connection: {connection}\r\n{allow}{fields}\r\n",
        reason(status)
    )
}

/// A short text that says what a status means.
pub fn text(status: u16) -> String {
    format!("{status} {}\n", reason(status))
}

/// The status for what the file service says.
pub fn status_of(error: &CallError<FsError>) -> u16 {
    match error {
        CallError::Service(FsError::NotFound | FsError::NotDirectory) => 404,
        CallError::Service(FsError::BadName) => 400,
        CallError::Service(FsError::ReadOnly | FsError::WriteOnly) => 403,
        CallError::Service(FsError::Exists | FsError::IsDirectory | FsError::NotEmpty | FsError::Busy) => 409,
        CallError::Service(FsError::TooBig) => 413,
        CallError::Service(FsError::NoSpace) => 507,
        CallError::Service(FsError::TooManyOpen | FsError::NoVolume) => 503,
        _ => 500,
    }
}

/// The type of a file, by the end of its name.
pub fn kind(path: &str) -> &'static str {
    let end = path.rsplit_once('.').map_or("", |(_, end)| end);
    let kinds = [
        ("html", "text/html; charset=utf-8"),
        ("htm", "text/html; charset=utf-8"),
        ("txt", "text/plain; charset=utf-8"),
        ("md", "text/plain; charset=utf-8"),
        ("rs", "text/plain; charset=utf-8"),
        ("css", "text/css"),
        ("js", "text/javascript"),
        ("json", "application/json"),
        ("svg", "image/svg+xml"),
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("gif", "image/gif"),
        ("pdf", "application/pdf"),
    ];
    kinds.iter().find(|(name, _)| end.eq_ignore_ascii_case(name)).map_or("application/octet-stream", |(_, kind)| kind)
}

/// A text as part of a page.
fn escape(text: &str, to: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            letter => to.push(letter),
        }
    }
}

/// A name as part of a link (RFC 3986, 2.1).
fn link(name: &str, to: &mut String) {
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(byte.into());
        } else {
            // A string refuses nothing.
            let _ = write!(to, "%{byte:02X}");
        }
    }
}

/// See [`link`].
pub fn linked(name: &str) -> String {
    let mut text = String::new();
    link(name, &mut text);
    text
}

/// The style of all pages: readable on a phone, in the dark, too.
const STYLE: &str = "<meta name=viewport content='width=device-width,initial-scale=1'><style>:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:50em;margin:1em auto;padding:0 1em}table{border-collapse:collapse;width:100%}\
td,th{padding:.3em .4em;text-align:left;border-bottom:1px solid #8884}td+td,th+th{text-align:right;\
font-variant-numeric:tabular-nums}a{text-decoration:none}svg{width:100%;height:9em;background:#8881}</style>";

/// The page of a directory.
///
/// # Errors
/// What the file service says.
pub fn directory(fs: &FsClient, path: &str) -> Result<String, CallError<FsError>> {
    let mut page = format!("<!doctype html><meta charset=utf-8>{STYLE}<title>/");
    escape(path, &mut page);
    page.push_str("</title><h1>/");
    escape(path, &mut page);
    page.push_str("</h1><table>");
    if path.is_empty() {
        let _ = write!(page, "<tr><td><a href='/{STATUS_PAGE}'>Services</a><td>");
    } else {
        page.push_str("<tr><td><a href='../'>..</a><td>");
    }
    let mut buffer = [0; 2 * fs::ENTRY_BUFFER];
    let mut cursor = 0;
    while cursor != listing::END {
        let (length, next) = fs.list(cursor, path.as_bytes(), &mut buffer)?;
        for entry in Entries::new(buffer.get(..length as usize).unwrap_or_default()) {
            if entry.name == "." || entry.name == ".." {
                continue;
            }
            let slash = if entry.stat.is_dir() { "/" } else { "" };
            page.push_str("<tr><td><a href='./");
            link(entry.name, &mut page);
            let _ = write!(page, "{slash}'>");
            escape(entry.name, &mut page);
            let _ = write!(page, "{slash}</a><td>");
            if !entry.stat.is_dir() {
                let _ = write!(page, "{}", entry.stat.size);
            }
        }
        if next == cursor {
            break;
        }
        cursor = next;
    }
    page.push_str("</table>");
    Ok(page)
}

/// The page about the services. It asks for the figures once a second and draws failures and bytes over time.
pub fn status_page() -> String {
    format!(
        "<!doctype html><meta charset=utf-8>{STYLE}<title>Services</title><h1>Services</h1>\
         <p id=up></p><svg id=plot preserveAspectRatio=none viewBox='0 0 120 100'></svg>\
         <p>Failures and rebuilds a second, of all services; two minutes.</p><table id=table></table>\
         <p><a href='/'>Files</a></p><script>{SCRIPT}</script>"
    )
}

/// What the page does.
const SCRIPT: &str = "const F=[],N=120;let last=null;const show=(id,html)=>document.getElementById(id).innerHTML=html;\
async function look(){try{const r=await fetch('/-/status.json');const s=await r.json();\
show('up','up '+(s.uptime_ms/1000).toFixed(1)+' s, '+s.failures+' failures, '+s.restarts+' rebuilds');\
show('table','<tr><th>service<th>state<th>failures<th>rebuilt<th>retried<th>lost'+s.services.map(v=>\
`<tr><td>${v.name}<td>${v.state}<td>${v.failures}<td>${v.restarts}<td>${v.retried}<td>${v.lost}`).join(''));\
if(last)F.push([s.failures-last.failures,s.restarts-last.restarts]);last=s;if(F.length>N)F.shift();\
const top=Math.max(4,...F.map(p=>Math.max(...p)));const line=(k,c)=>`<polyline fill=none stroke='${c}' vector-effect=\
non-scaling-stroke stroke-width=2 points='${F.map((p,i)=>(N-F.length+i)+','+(98-96*p[k]/top)).join(' ')}'/>`;\
show('plot',line(1,'#888')+line(0,'#e33'))}catch(e){show('up','no answer: '+e)}setTimeout(look,1000)}look()";

/// The figures, as JSON.
pub fn status_data(net: &NetClient) -> String {
    let mut data = String::new();
    let (mut failures, mut restarts) = (0u64, 0u64);
    for info in (0..).map_while(|index| sys::info::<ObjectInfo>(index).ok()) {
        let name = core::str::from_utf8(&info.name).unwrap_or_default().trim_end_matches('\0');
        if name.is_empty() {
            continue;
        }
        failures += u64::from(info.failures);
        restarts += u64::from(info.restarts);
        let comma = if data.is_empty() { "" } else { "," };
        let state = if info.state == ObjectState::Running as u32 { "runs" } else { "stands" };
        let _ = write!(
            data,
            "{comma}{{\"name\":\"{name}\",\"state\":\"{state}\",\"failures\":{},\"restarts\":{},\"retried\":{},\"lost\":{}}}",
            info.failures,
            info.restarts,
            info.retried,
            info.lost_sessions + info.failed_requests
        );
    }
    let uptime = sys::time_us().unwrap_or(0) / 1000;
    // Without an answer they are 0; the stack has just carried the question.
    let mut frames = Statistics::new_zeroed();
    let _ = net.statistics(frames.as_mut_bytes());
    format!(
        "{{\"uptime_ms\":{uptime},\"failures\":{failures},\"restarts\":{restarts},\"received\":{},\"sent\":{},\
         \"shunned\":{},\"turned_away\":{},\"services\":[{data}]}}",
        frames.received, frames.sent, frames.shunned, frames.turned_away
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_become_markup_or_other_links() {
        let (mut shown, mut linked) = (String::new(), String::new());
        escape("<a b=\"&\">", &mut shown);
        link("a b/ä%", &mut linked);
        assert_eq!(shown, "&lt;a b=&quot;&amp;&quot;&gt;");
        assert_eq!(linked, "a%20b%2F%C3%A4%25");
    }

    #[test]
    fn heads_end_with_an_empty_line() {
        let head = head(206, 5, "text/plain", false, "Content-Range: bytes 0-4/9\r\n");
        assert!(head.starts_with("HTTP/1.1 206 Partial Content\r\n") && head.ends_with("0-4/9\r\n\r\n"));
        assert!(head.contains("Content-Length: 5\r\n") && head.contains("Connection: close\r\n"));
    }

    #[test]
    fn kinds_go_by_the_end_of_the_name() {
        assert_eq!(
            (kind("a/b.HTML"), kind("x"), kind("x.tar")),
            (kind("b.html"), kind(""), "application/octet-stream")
        );
    }
}
