//! The network: commands of the shell with a host behind it, and transfers while services are killed.

mod common;
#[path = "../../services/net/tests/world/frames.rs"]
mod frames;
#[path = "../../services/net/tests/world/peer.rs"]
mod peer;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use common::{converse, emulator, image, must, xtask};
use frames::{Ends, Random, attack};
use peer::Peer;
use serde_json::Value;
use smoltcp::socket::tcp;

/// A server on the host's loopback, which the guest reaches as 10.0.2.2; answers every connection by this function.
fn serve(answer: impl Fn(&mut dyn BufRead, &mut dyn Write) + Send + 'static) -> u16 {
    let listener = must(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let port = must(listener.local_addr()).port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut input = BufReader::new(must(stream.try_clone()));
            answer(&mut input, &mut &stream);
        }
    });
    port
}

/// What was said behind this line of the shell's, up to the next prompt.
#[track_caller]
fn answer<'t>(text: &'t str, line: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("> {line}")).unwrap_or_else(|| panic!("{line} was not typed: {text}"));
    rest.split("\n> ").next().unwrap_or(rest)
}

#[test]
fn commands_of_the_shell_reach_the_host_through_crashes() {
    let content = vec![b'x'; 100_000];
    let length = content.len();
    let web = serve(move |input, output| {
        let mut line = String::new();
        while input.read_line(&mut line).is_ok_and(|count| count > 2) {
            line.clear();
        }
        must(write!(output, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()));
        must(output.write_all(&content));
    });
    let echo = serve(|input, output| {
        let mut text = String::new();
        must(input.read_to_string(&mut text));
        must(write!(output, "heard: {text}"));
    });
    let wget = format!("wget http://10.0.2.2:{web}/file /got");
    let nc = format!("nc 10.0.2.2 {echo} hello there");
    for legacy in ["false", "true"] {
        let mut machine = emulator(image(), "on");
        machine.args([
            "-netdev",
            "user,id=network",
            "-device",
            "virtio-net-device,netdev=network,bus=virtio-mmio-bus.8",
        ]);
        machine.args(["-global", &format!("virtio-mmio.force-legacy={legacy}")]);
        let (status, text) = converse(
            machine,
            &[
                "sleep 3000",
                "ifconfig",
                "ping 10.0.2.2",
                "svc crash net panic",
                &wget,
                "svc crash nic data-abort",
                "stat /got",
                "svc crash net undefined end",
                &nc,
                "ping 10.0.2.77",
                "ifconfig 10.0.2.30/24 10.0.2.2",
                "ping fec0::2",
                "wget http://10.0.2.2:1/nothing",
                "svc",
                "exit 3",
            ],
        );
        assert_eq!(status, Some(3), "{text}");
        assert!(answer(&text, "ifconfig").contains("address  10.0.2.15/24"), "{text}");
        assert!(answer(&text, "ping 10.0.2.2").contains("4 of 4 answered"), "{text}");
        assert!(answer(&text, &wget).contains(&format!("/got: {length} bytes")), "{text}");
        assert!(answer(&text, "stat /got").contains(&length.to_string()), "{text}");
        assert!(answer(&text, &nc).contains("heard: hello there"), "{text}");
        assert!(answer(&text, "ping 10.0.2.77").contains("nobody answers"), "{text}");
        assert!(answer(&text, "wget http://10.0.2.2:1/nothing").contains("reset"), "{text}");
        let row = |name: &str| text.lines().any(|line| line.starts_with(name) && line.contains("running"));
        assert!(row("net ") && row("nic "), "{text}");
    }
}

#[test]
fn transfers_go_on_while_services_are_killed() {
    let arguments = ["demo", "net", "--seconds", "4", "--intervals", "0,250", "--size", "200K", "--json"];
    let output = must(xtask().args(arguments).output());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let results: Vec<Value> = text.lines().map(|line| must(serde_json::from_str(line))).collect();
    let number = |result: &Value, key: &str| result[key].as_f64().unwrap_or_else(|| panic!("{key}: {text}"));
    let [calm, killed] = &results[..] else { panic!("two intervals: {text}") };
    assert_eq!((number(calm, "kills"), number(calm, "interval_s"), number(killed, "interval_s")), (0.0, 0.0, 0.25));
    assert!(number(killed, "kills") >= 12.0, "{text}");
    for result in &results {
        assert_eq!(number(result, "broken"), 0.0, "{text}");
        assert_eq!(number(result, "sha256_ok") * 2.0 + 8.0, number(result, "transfers"), "{text}");
    }
}

/// A machine that ends with the test.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port of the loopback that nobody has.
fn free_port() -> u16 {
    must(must(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).local_addr()).port()
}

/// One request on a connection of its own: everything that comes back until the end.
fn ask(port: u16, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

/// The content of a file in the guest.
fn get(port: u16, path: &str) -> std::io::Result<Vec<u8>> {
    let answer = ask(port, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    match end.filter(|_| answer.starts_with(b"HTTP/1.1 200 ")) {
        Some(end) => Ok(answer[end + 4..].to_vec()),
        None => Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
    }
}

/// An image with the web server.
fn web_image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("network.bin");
        let built = must(xtask().args(["build", "--failures", "0", "--net", "--out"]).arg(&file).output());
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        file
    })
}

/// No service has failed.
#[track_caller]
fn nothing_failed(figures: &Value) {
    for service in figures["services"].as_array().expect("a list") {
        assert_eq!((&service["failures"], &service["lost"]), (&Value::from(0), &Value::from(0)), "{figures}");
    }
}

#[test]
fn requests_of_every_bad_shape_are_refused() {
    let web = free_port();
    let mut machine = emulator(web_image(), "on");
    machine.args(["-netdev", &format!("user,id=network,hostfwd=tcp:127.0.0.1:{web}-:80")]);
    machine.args(["-device", "virtio-net-device,netdev=network,bus=virtio-mmio-bus.8"]);
    let _guest = Guest(machine.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the emulator"));
    let patience = Instant::now() + Duration::from_secs(120);
    let whole = loop {
        match get(web, "/noise/medium.bin") {
            Ok(content) => break content,
            Err(error) => assert!(Instant::now() < patience, "no web server: {error}"),
        }
        thread::sleep(Duration::from_millis(300));
    };
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(9000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(300));
    for (request, status) in [
        ("\r\n\r\n\0\0\0\r\n\r\n", "400"),
        ("BREW /pot HTTP/1.1\r\n\r\n", "405"),
        ("GET / HTTP/7.0\r\n\r\n", "400"),
        ("GET /../../x HTTP/1.1\r\n\r\n", "400"),
        ("GET /%zz HTTP/1.1\r\n\r\n", "400"),
        ("PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411"),
        ("PUT /x HTTP/1.1\r\nContent-Length: 4294967296000000000000\r\n\r\n", "400"),
        ("PUT /notes HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "409"),
        ("GET /missing HTTP/1.0\r\n\r\n", "404"),
        ("GET /readme.txt HTTP/1.0\r\nRange: bytes=99999-\r\n\r\n", "416"),
        (&long, "431"),
        (&many, "431"),
    ] {
        let answer = String::from_utf8_lossy(&must(ask(web, request.as_bytes()))).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60?}: {answer}");
    }
    // Connections that say nothing, one that reads nothing, and an upload that breaks off.
    let silent: Vec<_> = (0..24).filter_map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, web)).ok()).collect();
    let mut slow = must(TcpStream::connect((Ipv4Addr::LOCALHOST, web)));
    must(slow.write_all(b"GET /noise/medium.bin HTTP/1.1\r\n\r\n"));
    let mut upload = must(TcpStream::connect((Ipv4Addr::LOCALHOST, web)));
    must(upload.write_all(b"PUT /half HTTP/1.1\r\nContent-Length: 1000\r\n\r\nonly this"));
    drop(upload);
    assert!(must(get(web, "/noise/medium.bin")) == whole, "another content than before");
    assert!(get(web, "/half").is_err(), "half a file was stored");
    drop((silent, slow));
    nothing_failed(&must(serde_json::from_slice(&must(get(web, "/-/status.json")))));
}

/// Frames that the guest is attacked with.
const FRAMES: usize = 10_000;
/// The guest's card.
const CARD: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// The other end of the guest's wire: datagrams that carry frames.
struct Wire {
    socket: UdpSocket,
    to: u16,
    peer: Peer,
    began: Instant,
    /// Frames from the guest to the attacker.
    answers: usize,
}

impl Wire {
    fn send(&self, frame: &[u8]) {
        // A frame that the wire has no room for at the moment.
        while self.socket.send_to(frame, (Ipv4Addr::LOCALHOST, self.to)).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets the peer, which is no attacker, work once.
    fn carry(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let frame = &buffer[..length];
            self.answers += usize::from(frame.starts_with(&ATTACKER));
            if frame.starts_with(&peer::MAC) || frame.first().is_some_and(|first| first & 1 == 1) {
                self.peer.wire.inward.push_back(frame.to_vec());
            }
        }
        self.peer.poll(self.began.elapsed().as_micros() as u64);
        let outward = std::mem::take(&mut self.peer.wire.outward);
        outward.iter().for_each(|frame| self.send(frame));
    }

    /// Fetches something, with what is done between two steps.
    fn get(&mut self, path: &str, mut between: impl FnMut(&Wire)) -> Vec<u8> {
        let handle = self.peer.connect([10, 0, 2, 15].into(), 80, 8192);
        let (mut asked, mut answer) = (false, Vec::new());
        let patience = Instant::now() + Duration::from_secs(120);
        loop {
            assert!(Instant::now() < patience, "{path}: no answer through the attack");
            between(self);
            self.carry();
            let socket = self.peer.sockets.get_mut::<tcp::Socket<'_>>(handle);
            if !asked && socket.may_send() {
                asked = socket.send_slice(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).is_ok();
            }
            while socket.can_recv() {
                must(socket.recv(|bytes| {
                    answer.extend_from_slice(bytes);
                    (bytes.len(), ())
                }));
            }
            if asked && !socket.may_recv() {
                socket.abort();
                self.peer.sockets.remove(handle);
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        answer.split_off(end + 4)
    }
}

/// The attacker's card.
const ATTACKER: [u8; 6] = [2, 0, 0, 0, 0, 0xc9];

#[test]
fn attacks_leave_others_their_service() {
    let socket = must(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
    let guest = must(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)));
    let (own, to) = (must(socket.local_addr()).port(), must(guest.local_addr()).port());
    drop(guest);
    must(socket.set_nonblocking(true));
    let mut machine = emulator(web_image(), "on");
    machine.args(["-netdev", &format!("socket,id=network,udp=127.0.0.1:{own},localaddr=127.0.0.1:{to}")]);
    machine.args(["-device", "virtio-net-device,netdev=network,bus=virtio-mmio-bus.8,mac=52:54:00:12:34:56"]);
    machine.args(["-global", "virtio-mmio.force-legacy=false"]);
    let mut child = machine.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the emulator");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let _guest = Guest(child);
    let mut said = Vec::new();
    while !said.ends_with(b"\n> ") {
        assert!(must(output.read_until(b' ', &mut said)) > 0, "{}", String::from_utf8_lossy(&said));
    }
    must(input.write_all(b"ifconfig 10.0.2.15/24\r"));
    thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));

    let mut v6 = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56];
    let v6_own = v6;
    v6[15] = 0xc9;
    let ends =
        Ends { mac: CARD, v4: [10, 0, 2, 15], v6: v6_own, peer_mac: ATTACKER, peer_v4: [10, 0, 2, 201], peer_v6: v6 };
    let mut wire = Wire { socket, to, peer: Peer::new(), began: Instant::now(), answers: 0 };
    let whole = wire.get("/noise/medium.bin", |_| ());
    assert_eq!(whole.len(), 65_536);
    let mut random = Random(0x0a77_ac4e);
    let (mut frames, mut transfers) = (0, 0);
    while frames < FRAMES {
        let content = wire.get("/noise/medium.bin", |wire| {
            for _ in 0..8 {
                wire.send(&attack(&ends, &mut random, &[80, 68, 53]));
                frames += 1;
            }
        });
        assert!(content == whole, "another content than before");
        transfers += 1;
    }
    let after: Value = must(serde_json::from_slice(&wire.get("/-/status.json", |_| ())));
    // Some are lost on the wire: the guest's card has room for 64.
    assert!(after["received"].as_u64() >= Some(FRAMES as u64 / 2), "{transfers} transfers, {after}");
    assert!(wire.answers > FRAMES / 100, "the guest answered {} frames", wire.answers);
    nothing_failed(&after);
}
