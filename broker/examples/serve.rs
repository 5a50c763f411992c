//! The broker as a program: `serve [ADDRESS] [DIRECTORY]`. Runs until it is killed.
//!
//! It prints the line `listening on HOST:PORT`, which scripts and tests wait for.
#![allow(clippy::print_stderr, reason = "an example speaks to whoever runs it")]
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_string());
    let Ok(listen) = listen.parse() else {
        eprintln!("usage: serve [ADDRESS:PORT] [DIRECTORY]; {listen} is no address");
        return ExitCode::FAILURE;
    };
    let data = arguments.next().map(Into::into);
    match drover_broker::Broker::start(drover_broker::Config { listen, data, ..Default::default() }) {
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
        Ok(broker) => {
            let said = writeln!(std::io::stdout(), "listening on {}", broker.bootstrap());
            if said.is_err() {
                return ExitCode::FAILURE;
            }
            loop {
                std::thread::park();
            }
        }
    }
}
