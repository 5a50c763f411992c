//! The `drover` binary.

use std::process::ExitCode;

use clap::Parser;

/// Records are made by poll threads and dropped by shards, twenty small things with each: measured in
/// docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, which has no name in the crate: its place in `mi_option_e` of mimalloc 3.
const PURGE_DELAY: i32 = 15;

/// What is free goes back to the system after 10 ms, not after a second: measured, a seventh of the peak and no time.
#[allow(unsafe_code, reason = "the allocator's settings are calls of C; this one only stores a number")]
fn give_memory_back_soon() {
    // SAFETY: any thread may set an option at any time.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 10) };
}

fn main() -> ExitCode {
    give_memory_back_soon();
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
