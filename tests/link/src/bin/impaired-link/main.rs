// SPDX-License-Identifier: MPL-2.0
//! Stands between WebRTC peers and passes their datagrams on over an impaired link.
//!
//! It needs no privileges and no kernel support, and works for any peer: each gets the other's
//! description with one candidate, a port of this program. See `--help`.

mod datagram;
mod description;
mod log;
mod relay;

use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;

use impaired_link::{Conditions, Config};
use serde_json::{Value, json};

use relay::{Relay, Side};

const HELP: &str = "\
impaired-link [--ab LINK] [--ba LINK] [--seed N] [--start media|now] [--log FILE]

Passes datagrams between peers `a` and `b` over a link with loss, delay and a bottleneck.

  --ab LINK, --ba LINK   each direction, as in 'rate=2M queue=200ms delay=25ms jitter=5ms loss=5%
                         gilbert=1%/25% burst=50ms/1s reorder=1%/20ms duplicate=1%; 20s: rate=700k'
  --seed N               what the chances are drawn from (1)
  --start media|now      when the link's time begins; until the first media packet (the default) the
                         link only delays
  --log FILE             one line of CSV for each datagram since then; times in microseconds

Standard input, one JSON object a line:
  {\"side\": \"a\", \"sdp\": TEXT, \"flow\": 0}  is answered by the same with the SDP for the other side.
      Flows of other numbers are further pairs of peers, over the same link.
  {\"do\": \"stats\"}                        is answered by counters.
The end of the input ends the program; its last line are the counters.";

/// A line of standard input that is longer than this is no description.
const MAX_LINE: usize = 1 << 20;

struct Options {
    links: [Config; 2],
    seed: u64,
    at_once: bool,
    log: Option<String>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        links: [
            Config::from(Conditions::default()),
            Config::from(Conditions::default()),
        ],
        seed: 1,
        at_once: false,
        log: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        if name == "--help" || name == "-h" {
            println!("{HELP}");
            std::process::exit(0);
        }
        let value = words.next().ok_or(format!("{name}: a value is missing"))?;
        let link = |text: &str| text.parse::<Config>().map_err(|e| format!("{name}: {e}"));
        match name.as_str() {
            "--ab" => options.links[0] = link(&value)?,
            "--ba" => options.links[1] = link(&value)?,
            "--seed" => options.seed = value.parse().map_err(|e| format!("{name}: {e}"))?,
            "--start" if value == "media" || value == "now" => options.at_once = value == "now",
            "--log" => options.log = Some(value),
            _ => return Err(format!("{name} {value}: see --help")),
        }
    }
    Ok(options)
}

/// The answer to one line of standard input.
fn answer(relay: &mut Relay, line: &[u8]) -> Value {
    let Ok(mut request) = serde_json::from_slice::<Value>(line) else {
        return json!({"error": "this is no JSON"});
    };
    if request["do"] == "stats" {
        return relay.stats();
    }
    let flow = request["flow"].as_u64().unwrap_or(0);
    let side = match request["side"].as_str() {
        Some("a") => Side::A,
        Some("b") => Side::B,
        _ => return json!({"error": "'side' is not a or b"}),
    };
    let Some(sdp) = request["sdp"].as_str() else {
        return json!({"error": "no 'sdp'"});
    };
    match relay.describe(flow, side, sdp) {
        Ok(sdp) => {
            request["sdp"] = sdp.into();
            request
        }
        Err(error) => json!({"error": error}),
    }
}

fn say(value: &Value) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))
}

fn run() -> Result<(), String> {
    let options = options()?;
    let log = options.log.as_deref().map(log::Log::create).transpose()?;
    let mut relay = Relay::new(options.links, options.seed, options.at_once, log);
    let (mut line, mut chunk) = (Vec::new(), [0; 4096]);
    let stdin = std::io::stdin();
    loop {
        if !relay.pass(stdin.as_fd())? {
            continue;
        }
        let read = rustix::io::read(&stdin, &mut chunk).map_err(|e| e.to_string())?;
        if read == 0 {
            break;
        }
        for byte in &chunk[..read] {
            if *byte != b'\n' {
                line.push(*byte);
            } else if !line.trim_ascii().is_empty() {
                say(&answer(&mut relay, &line))?;
                line.clear();
            }
        }
        if line.len() > MAX_LINE {
            return Err(format!("a line of more than {MAX_LINE} bytes"));
        }
    }
    say(&relay.stats())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("impaired-link: {error}");
            ExitCode::FAILURE
        }
    }
}
