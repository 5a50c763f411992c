//! Places where a test stops this process, to kill it just there. In debug builds only, and only for a process that
//! was started with `DROVER_FAILPOINT=<place>` or `<place>:<times>`.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where, how often it is passed before, how often it was.
struct Armed {
    place: String,
    passes: u64,
    passed: AtomicU64,
}

/// Says so on stdout and never returns, if this place was named and passed often enough.
pub fn reached(place: &str) {
    if cfg!(debug_assertions) {
        stop_if_named(place);
    }
}

fn stop_if_named(place: &str) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| std::env::var("DROVER_FAILPOINT").ok().map(|it| Armed::of(&it)));
    let Some(armed) = armed.as_ref().filter(|it| it.place == place) else { return };
    if armed.passed.fetch_add(1, Ordering::Relaxed) < armed.passes {
        return;
    }
    let said = writeln!(std::io::stdout(), "failpoint {place}").and_then(|()| std::io::stdout().flush());
    assert!(said.is_ok(), "nobody listens at a failpoint");
    loop {
        std::thread::park();
    }
}

impl Armed {
    fn of(named: &str) -> Self {
        let (place, passes) = named.split_once(':').unwrap_or((named, "0"));
        Self { place: place.to_owned(), passes: passes.parse().unwrap_or(0), passed: AtomicU64::new(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_how_often_it_is_passed() {
        let cases = [("read", ("read", 0)), ("read:7", ("read", 7)), ("read:x", ("read", 0))];
        for (named, expected) in cases {
            let armed = Armed::of(named);
            assert_eq!((armed.place.as_str(), armed.passes), expected);
        }
    }
}
