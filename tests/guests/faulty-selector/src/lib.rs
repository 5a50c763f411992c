//! `faulty-selector`: fails in the way that its setting `do` says.

use drover_guest::prelude::*;
use std::hint::black_box;

#[derive(Default)]
pub struct Faulty;

#[selector]
impl Select for Faulty {
    fn update(&mut self, _app: App) -> Result<()> {
        match config_get("do").as_deref() {
            Some("trap-update") => panic!("told to"),
            _ => Ok(()),
        }
    }

    fn select(&mut self, _pick: &Pick) -> Result<u32> {
        match config_get("do").as_deref() {
            Some("trap") => panic!("told to"),
            Some("loop") => loop {
                black_box(());
            },
            Some("out-of-range") => Ok(1_000_000),
            Some("last") => Ok(1),
            _ => drover_guest::select::no_server(),
        }
    }
}
