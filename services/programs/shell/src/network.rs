//! Commands about the network.

use core::fmt::{self, Write};
use core::net::{IpAddr, SocketAddr};

use fs::{FsClient, OpenFlags};
use net::{Address, Configuration, Connection, NetClient, Protocol, Statistics};
use rt::{CallError, sys};
use zerocopy::{FromZeros, IntoBytes};

use crate::command::{Context, Failure};
use crate::sessions::TRAFFIC;
use crate::words::Words;

/// Echo requests that `ping` sends.
const PINGS: u16 = 4;
/// Ticks between two of them, which is also how long each answer is waited for.
const INTERVAL: u32 = 1_000;
/// Bytes that travel at once.
const CHUNK: usize = 4096;
/// Bytes of the longest head of an answer that `wget` understands.
const HEAD: usize = 2048;

/// Tells what an error is about.
fn about<T>(subject: &str, result: Result<T, CallError<net::NetError>>) -> Result<T, Failure> {
    result.map_err(|error| Failure::asked("net", subject, error))
}

/// The first address of a name, IPv4 before IPv6.
fn find(net: &NetClient, name: &str) -> Result<IpAddr, Failure> {
    let mut answer = net.lookup(name, 4, TRAFFIC);
    if matches!(answer, Err(CallError::Service(net::NetError::NoAnswer))) {
        answer = net.lookup(name, 6, TRAFFIC);
    }
    about(name, answer)?.addresses().next().ok_or(Failure::Said("the name has no address"))
}

/// A word that is a port.
fn port(word: &str) -> Result<u16, Failure> {
    word.parse().ok().filter(|port| *port != 0).ok_or(Failure::Said("a port is a number from 1 to 65535"))
}

/// An address with its prefix, as `ifconfig` shows it.
struct Shown<'a>(&'a Address);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.ip() {
            Some(ip) => write!(f, "{ip}/{}", self.0.prefix),
            None => f.write_str("none"),
        }
    }
}

pub fn ifconfig(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (net, out) = context.net()?;
    let mut configuration = about("", net.interface())?;
    match (words.get(1), words.argument_count()) {
        (None, _) => return show(net, &configuration, out),
        (Some("auto"), 1) => configuration.automatic = 1,
        (Some(address), 1..=3) => {
            let (ip, prefix) = address.split_once('/').ok_or(Failure::Usage)?;
            let ip: IpAddr = ip.parse().map_err(|_| Failure::Usage)?;
            let prefix = prefix.parse().map_err(|_| Failure::Usage)?;
            let own = Address { prefix, ..Address::of(ip) };
            let family = own.family;
            // The others of its family go, but for the one that the card gave itself.
            let local = |address: &Address| matches!(address.ip(), Some(IpAddr::V6(ip)) if ip.is_unicast_link_local());
            let kept = configuration
                .addresses
                .map(|address| if address.family == family && !local(&address) { Address::NONE } else { address });
            configuration.addresses = kept;
            let free = configuration.addresses.iter_mut().find(|address| address.family == 0);
            *free.ok_or(Failure::Said("there is no room for another address"))? = own;
            let parse = |word: &str| word.parse().map(Address::of).map_err(|_| Failure::Usage);
            let gateway = words.get(2).map_or(Ok(Address::NONE), parse)?;
            configuration.gateways[usize::from(family == 6)] = gateway;
            if let Some(server) = words.get(3) {
                configuration.servers = [parse(server)?, Address::NONE, Address::NONE];
            }
            configuration.automatic = 0;
        }
        _ => return Err(Failure::Usage),
    }
    about("", net.configure(configuration.as_bytes()))
}

fn show(net: &NetClient, configuration: &Configuration, out: &mut impl Write) -> Result<(), Failure> {
    if configuration.link == 0 {
        return Err(Failure::Said("there is no network card (`cargo xtask run --net` connects one)"));
    }
    let [a, b, c, d, e, f] = configuration.mac;
    let how = if configuration.automatic == 1 { "DHCP and SLAAC" } else { "by hand" };
    writeln!(out, "card     {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}, {how}")?;
    for address in configuration.addresses.iter().filter(|address| address.family != 0) {
        writeln!(out, "address  {}", Shown(address))?;
    }
    for gateway in configuration.gateways.iter().filter_map(Address::ip) {
        writeln!(out, "router   {gateway}")?;
    }
    for server in configuration.servers.iter().filter_map(Address::ip) {
        writeln!(out, "names    {server}")?;
    }
    let mut all = Statistics::new_zeroed();
    about("", net.statistics(all.as_mut_bytes()))?;
    writeln!(
        out,
        "frames   {} received, {} of them for no client; {} sent; {} dropped unread, {} refused by the card",
        all.received, all.own, all.sent, all.shunned, all.refused
    )?;
    writeln!(out, "stack    built {} times; {} connections turned away", all.built, all.turned_away)?;
    Ok(())
}

pub fn dig(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (net, out) = context.net()?;
    let family = match words.get(2) {
        None | Some("A") => 4,
        Some("AAAA") => 6,
        Some(_) => return Err(Failure::Usage),
    };
    let (Some(name), 1..=2) = (words.get(1), words.argument_count()) else { return Err(Failure::Usage) };
    for address in about(name, net.lookup(name, family, TRAFFIC))?.addresses() {
        writeln!(out, "{name} {address}")?;
    }
    Ok(())
}

pub fn ping(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (net, out) = context.net()?;
    let (Some(name), 1) = (words.get(1), words.argument_count()) else { return Err(Failure::Usage) };
    let to = find(net, name)?;
    let socket = about("", net.open_datagrams(Protocol::Echo, 0))?;
    let result = exchange(net, socket, to, out);
    // What it answered is known.
    let _ = net.close(socket);
    result
}

fn exchange(net: &NetClient, socket: u32, to: IpAddr, out: &mut impl Write) -> Result<(), Failure> {
    const ADDRESS: usize = size_of::<Address>();
    let time = || sys::time_us().map_err(|error| Failure::System("time", error));
    let mut answered = 0;
    for number in 1..=PINGS {
        let mut request = [b'.'; ADDRESS + 2 + 56];
        request[..ADDRESS].copy_from_slice(Address::of(to).as_bytes());
        request[ADDRESS..ADDRESS + 2].copy_from_slice(&number.to_be_bytes());
        let sent = time()?;
        about("", net.send_to(socket, &request))?;
        let mut reply = [0; 128];
        let end = sent + u64::from(INTERVAL) * 1000;
        let found = loop {
            match net.recv_from(socket, &mut reply) {
                Ok(length) if reply.get(ADDRESS..ADDRESS + 2) == Some(&number.to_be_bytes()[..]) => break Some(length),
                Ok(_) => {}
                Err(error) if error.would_block() => {
                    let left = end.saturating_sub(time()?) / 1000;
                    if left == 0 {
                        break None;
                    }
                    sys::wait_events(TRAFFIC, left as u32).map_err(|error| Failure::System("wait", error))?;
                }
                Err(error) => return about("", Err(error)),
            }
        };
        match found {
            Some(length) => {
                answered += 1;
                writeln!(out, "{} bytes from {to}: {number}, {} us", length as usize - ADDRESS, time()? - sent)?;
            }
            None => writeln!(out, "{number}: no answer")?,
        }
    }
    writeln!(out, "{answered} of {PINGS} answered")?;
    if answered == 0 { Err(Failure::Said("nobody answers")) } else { Ok(()) }
}

pub fn nc(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (net, out) = context.net()?;
    let (Some(name), Some(number), 2..) = (words.get(1), words.get(2), words.argument_count()) else {
        return Err(Failure::Usage);
    };
    let to = SocketAddr::new(find(net, name)?, port(number)?);
    let connection = about(name, Connection::to(net, TRAFFIC, to))?;
    for (index, word) in words.arguments().skip(2).enumerate() {
        let blank: &[u8] = if index == 0 { b"" } else { b" " };
        about(name, connection.send_all(blank).and_then(|()| connection.send_all(word.as_bytes())))?;
    }
    about(name, connection.send_all(b"\n").and_then(|()| connection.shutdown()))?;
    let mut buffer = [0; CHUNK];
    loop {
        match about(name, connection.recv(&mut buffer))? {
            0 => return Ok(()),
            length => out.put(&buffer[..length]),
        }
    }
}

/// An address of the web: `http://HOST[:PORT]/PATH`, the scheme may be missing.
fn url(text: &str) -> Result<(&str, u16, &str), Failure> {
    let rest = text.strip_prefix("http://").unwrap_or(text);
    if rest.contains("://") {
        return Err(Failure::Said("only http:// is understood"));
    }
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (host, number) = match host.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(host, number)| (host, Some(number))),
    };
    Ok((host, number.map_or(Ok(80), port)?, path))
}

pub fn wget(context: &mut Context<'_, '_>, words: &Words) -> Result<(), Failure> {
    let (Some(address), 1..=2) = (words.get(1), words.argument_count()) else { return Err(Failure::Usage) };
    let (host, number, path) = url(address)?;
    let name = words.get(2).unwrap_or_else(|| path.rsplit('/').next().unwrap_or_default());
    if name.is_empty() {
        return Err(Failure::Said("the address names no file: say where to put it"));
    }
    let (net, fs, out) = context.net_and_files()?;
    let to = SocketAddr::new(find(net, host)?, number);
    let connection = about(host, Connection::to(net, TRAFFIC, to))?;
    for part in ["GET ", path, " HTTP/1.0\r\nHost: ", host, "\r\nConnection: close\r\n\r\n"] {
        about(host, connection.send_all(part.as_bytes()))?;
    }
    let file = |result: Result<u32, CallError<fs::FsError>>| result.map_err(|error| Failure::asked("fs", name, error));
    let mut head = [0; HEAD];
    let (length, start) = read_head(&connection, host, &mut head)?;
    let wanted = content_length(&head[..start])?;
    let fd = file(fs.open(OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE, name.as_bytes()))?;
    let stored = store(fs, fd, name, &connection, host, &head[start..length]);
    file(fs.close(fd).map(|()| 0))?;
    let stored = stored?;
    if wanted.is_some_and(|wanted| wanted != stored) {
        return Err(Failure::Said("the connection ended early: the file is not whole"));
    }
    writeln!(out, "{name}: {stored} bytes")?;
    Ok(())
}

/// Reads the head of an answer; the bytes read, and those of them that are the head.
fn read_head(connection: &Connection<'_>, host: &str, head: &mut [u8]) -> Result<(usize, usize), Failure> {
    let mut length = 0;
    loop {
        let end = head[..length].windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            return Ok((length, end + 4));
        }
        let room = head.get_mut(length..).filter(|room| !room.is_empty());
        let room = room.ok_or(Failure::Said("the answer has a head that is too long"))?;
        match about(host, connection.recv(room))? {
            0 => return Err(Failure::Said("the connection ended before the answer did")),
            count => length += count,
        }
    }
}

/// The length that a head announces; an error if the status is not 200.
fn content_length(head: &[u8]) -> Result<Option<u64>, Failure> {
    let text = core::str::from_utf8(head).map_err(|_| Failure::Said("that is no answer of a web server"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.split(' ').nth(1));
    if status != Some("200") {
        return Err(Failure::Said("the server does not have it (its status is not 200)"));
    }
    let fields = lines.filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    Ok(lengths.next().and_then(|(_, value)| value.trim().parse().ok()))
}

fn store(
    fs: &FsClient,
    fd: u32,
    name: &str,
    connection: &Connection<'_>,
    host: &str,
    first: &[u8],
) -> Result<u64, Failure> {
    let mut buffer = [0; CHUNK];
    let mut stored = 0;
    let mut part = first;
    loop {
        fs.write_all(fd, part).map_err(|error| Failure::asked("fs", name, error))?;
        stored += part.len() as u64;
        match about(host, connection.recv(&mut buffer))? {
            0 => return Ok(stored),
            length => part = &buffer[..length],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_web() {
        let parts = |text| url(text).ok();
        assert_eq!(parts("http://host/a/b"), Some(("host", 80, "/a/b")));
        assert_eq!(parts("host:8080"), Some(("host", 8080, "/")));
        assert_eq!(parts("http://[fe80::1]:81/x"), Some(("fe80::1", 81, "/x")));
        for bad in ["https://x/", "host:0/", "host:x/"] {
            assert!(parts(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn heads_of_answers() {
        let length = |text: &str| content_length(text.as_bytes()).ok();
        assert_eq!(length("HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n"), Some(Some(12)));
        assert_eq!(length("HTTP/1.0 200 OK\r\n\r\n"), Some(None));
        assert_eq!(length("HTTP/1.1 404 Not Found\r\n\r\n"), None);
        assert_eq!(length("SSH-2.0\r\n\r\n"), None);
    }
}
