//! The time.

/// Now, in ms since 1970; 0 where the host's clock is before that.
pub fn now_ms() -> u64 {
    #[cfg(not(target_family = "wasm"))]
    if let Some(now_ms) = crate::mock::with(|host| host.now_ms) {
        return now_ms;
    }
    #[allow(clippy::disallowed_methods, reason = "the one place of the SDK that reads the clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64)
}
