// SPDX-License-Identifier: MPL-2.0
//! `rswebrtc-sdp`: says what a session description offers, and what two agree on.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use gstwebrtcrs::sdp::check::compare;
use gstwebrtcrs::sdp::explain::explain;
use gstwebrtcrs::sdp::{Kind, Remote};
use gstwebrtcrs::signalling::find_description;
use gstwebrtcrs::signalling::message::DescriptionType;

/// More than any description; what is longer is not read to its end.
const MAX_INPUT: u64 = 4 << 20;

const AFTER_HELP: &str = "\
A description is bare SDP, also with its line ends written as \\r\\n; JSON with
\"sdp\" and \"type\"; or base64 of either. `-` is standard input.

Exit status: 0 all is well; 1 something cannot be read, or (match) a rule is
broken; 2 wrong use.";

/// Reads WebRTC session descriptions (SDP).
#[derive(Parser)]
#[command(name = "rswebrtc-sdp", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says what one description offers, and what in it is unusual or wrong.
    Explain {
        /// The description; standard input if it is not given.
        #[arg(default_value = "-")]
        file: PathBuf,
        /// Which of the two it is, where it does not say so.
        #[arg(long = "type", value_enum)]
        kind: Option<Type>,
        /// Writes JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Says what an offer and its answer agree on, and every rule that the answer breaks.
    Match {
        /// The offer.
        offer: PathBuf,
        /// The answer.
        answer: PathBuf,
        /// Writes JSON, for scripts.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Type {
    Offer,
    Answer,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("{name}: {cause}")]
    Unreadable { name: String, cause: String },
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        // Whoever closed the pipe has read enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            // A closed standard error is the user's choice.
            let _ = writeln!(io::stderr(), "rswebrtc-sdp: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}

/// Whether all is well.
fn run(command: Command) -> Result<bool, Failure> {
    match command {
        Command::Explain { file, kind, json } => {
            let (remote, own_kind) = read(&file)?;
            let kind = own_kind.or(kind.map(|kind| match kind {
                Type::Offer => Kind::Offer,
                Type::Answer => Kind::Answer,
            }));
            print(&explain(&remote, kind), json)?;
            Ok(true)
        }
        Command::Match {
            offer,
            answer,
            json,
        } => {
            if is_stdin(&offer) && is_stdin(&answer) {
                let text = "only one of the two can be standard input";
                return Err(Failure::Usage(text.to_owned()));
            }
            let (offer, answer) = (
                read_as(&offer, Kind::Offer)?,
                read_as(&answer, Kind::Answer)?,
            );
            let agreement = compare(&offer, &answer);
            print(&agreement, json)?;
            Ok(!agreement.is_broken())
        }
    }
}

fn print(result: &(impl Serialize + Display), json: bool) -> Result<(), Failure> {
    let mut text = if json {
        serde_json::to_string_pretty(result).map_err(io::Error::from)?
    } else {
        result.to_string()
    };
    if json {
        text.push('\n');
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn read_as(path: &Path, due: Kind) -> Result<Remote, Failure> {
    let (remote, kind) = read(path)?;
    match kind {
        Some(kind) if kind != due => Err(Failure::Usage(format!(
            "{}: it is an {}, and the {} is due there: the offer comes first",
            name(path),
            kind.as_str(),
            due.as_str()
        ))),
        _ => Ok(remote),
    }
}

fn read(path: &Path) -> Result<(Remote, Option<Kind>), Failure> {
    let unreadable = |cause: String| Failure::Unreadable {
        name: name(path),
        cause,
    };
    let mut bytes = Vec::new();
    let result = if is_stdin(path) {
        io::stdin().lock().take(MAX_INPUT).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_INPUT).read_to_end(&mut bytes))
    };
    result.map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let line = good
            .unwrap_or_default()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        unreadable(format!("line {line}: it is not UTF-8 text"))
    })?;
    let found = find_description(&text).map_err(unreadable)?;
    let kind = found.kind.map(|kind| match kind {
        DescriptionType::Offer => Kind::Offer,
        DescriptionType::Answer => Kind::Answer,
    });
    let remote = Remote::parse(&found.sdp).map_err(|error| unreadable(error.to_string()))?;
    Ok((remote, kind))
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn name(path: &Path) -> String {
    if is_stdin(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}
