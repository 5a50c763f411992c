//! The `drover` binary.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match drover::cli::Cli::parse().run(&mut std::io::stdout().lock()) {
        Ok(code) => code,
        Err(error) => {
            // A reader that has gone (`drover check | head`) is no failure worth words.
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("drover: {error:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}
