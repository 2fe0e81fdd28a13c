//! The network: commands of the shell with a host behind it, and transfers while services are killed.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use common::{converse, emulator, image, must, xtask};
use serde_json::Value;

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
