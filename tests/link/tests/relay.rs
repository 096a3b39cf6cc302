// SPDX-License-Identifier: MPL-2.0
//! The program: descriptions go in and lead through it, datagrams pass, and it says what became of them.

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(10);

struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Program {
    fn start(words: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_impaired-link"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.child.stdin.as_mut().unwrap(), "{request}").unwrap();
        self.line()
    }

    /// The port at which the other side sees `peer`.
    fn lead(&mut self, flow: u64, side: &str, peer: &UdpSocket) -> u16 {
        let port = peer.local_addr().unwrap().port();
        let sdp = format!(
            "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=candidate:1 1 udp 1 127.0.0.1 {port} typ host\r\n"
        );
        let answer = self.ask(&json!({"flow": flow, "side": side, "sdp": sdp, "type": "offer"}));
        assert_eq!(answer["type"], "offer", "{answer}");
        let sdp = answer["sdp"].as_str().unwrap();
        let candidate = sdp.lines().find(|line| line.starts_with("a=candidate:"));
        candidate
            .unwrap()
            .split(' ')
            .nth(5)
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Ends it; the last counters.
    fn end(mut self) -> Value {
        drop(self.child.stdin.take());
        let stats = self.line();
        assert!(self.child.wait().unwrap().success());
        stats["stats"].clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peer() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// As much of an RTP packet as one sees from outside.
fn media(number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 96];
    packet.extend(number.to_be_bytes());
    packet.extend([0; 96]);
    packet
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 2000];
    let (size, _) = socket.recv_from(&mut buffer).unwrap();
    buffer[..size].to_vec()
}

#[test]
fn datagrams_pass_both_ways_with_the_delay_of_the_way() {
    let mut program = Program::start(&["--ab", "delay=40ms", "--ba", "delay=5ms"]);
    let (a, b) = (peer(), peer());
    let at_b = program.lead(0, "a", &a);
    let at_a = program.lead(0, "b", &b);
    let begun = Instant::now();
    a.send_to(&media(1), ("127.0.0.1", at_a)).unwrap();
    assert_eq!(received(&b), media(1));
    assert!(begun.elapsed() >= Duration::from_millis(40));
    b.send_to(&media(2), ("127.0.0.1", at_b)).unwrap();
    assert_eq!(received(&a), media(2));
    let stats = program.end();
    assert_eq!(
        (&stats["ab"]["datagrams"], &stats["ba"]["datagrams"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn what_comes_from_elsewhere_goes_nowhere() {
    let mut program = Program::start(&["--start", "now"]);
    let (a, b, stranger) = (peer(), peer(), peer());
    program.lead(0, "a", &a);
    let at_a = program.lead(0, "b", &b);
    stranger.send_to(&media(1), ("127.0.0.1", at_a)).unwrap();
    a.send_to(&media(2), ("127.0.0.1", at_a)).unwrap();
    assert_eq!(received(&b), media(2));
    assert_eq!(program.end()["ab"]["stray"], 1);
}

#[test]
fn two_flows_share_one_bottleneck_and_the_log_has_each_datagram() {
    let folder = std::env::temp_dir().join(format!("impaired-link-{}.csv", std::process::id()));
    let log = folder.to_str().unwrap().to_owned();
    // 128 bytes with their headers take 50 ms.
    let mut program = Program::start(&["--ab", "rate=20480 queue=1s", "--log", &log]);
    let ends = [(peer(), peer()), (peer(), peer())];
    let mut ports = Vec::new();
    for (flow, (a, b)) in ends.iter().enumerate() {
        program.lead(flow as u64, "a", a);
        ports.push(program.lead(flow as u64, "b", b));
    }
    for ((a, _), at_a) in ends.iter().zip(ports) {
        for number in 0..5 {
            a.send_to(&media(number), ("127.0.0.1", at_a)).unwrap();
        }
    }
    for (_, b) in &ends {
        for number in 0..5 {
            assert_eq!(received(b), media(number));
        }
    }
    program.end();
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    let queued: Vec<u64> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(5).unwrap().parse().unwrap())
        .collect();
    assert_eq!(queued.len(), 10, "{text}");
    // The last one waited also for those of the other flow: its own take 200 ms.
    assert!(*queued.iter().max().unwrap() > 225_000, "{text}");
}

#[test]
fn what_is_no_description_is_refused_and_the_program_goes_on() {
    let mut program = Program::start(&[]);
    for request in [
        json!({"side": "c"}),
        json!({"side": "a", "sdp": "v=0\r\n"}),
        json!(5),
    ] {
        assert!(program.ask(&request)["error"].is_string(), "{request}");
    }
    assert!(program.ask(&json!({"do": "stats"}))["stats"]["ab"].is_object());
}
