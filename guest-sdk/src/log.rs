//! Lines into the host's log. The macros make their text only where it would be kept.
//!
//! `log::info!("{} items", n)`; also `trace`, `debug`, `warn`, `error`, `critical`.

#[cfg(target_family = "wasm")]
use crate::bindings::imports::drover::plugin::log as imported;

pub use crate::bindings::imports::drover::plugin::log::Level;

/// Whether a line of this level would be kept.
pub fn enabled(level: Level) -> bool {
    #[cfg(target_family = "wasm")]
    return imported::enabled(level);
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| (level as u8) >= (host.level as u8));
}

/// Writes a line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    imported::log(level, message);
    #[cfg(not(target_family = "wasm"))]
    write_with(level, message, &[]);
}

/// Writes a line with fields.
pub fn write_with(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields: Vec<(String, String)> = crate::metrics::owned(fields);
    #[cfg(target_family = "wasm")]
    imported::log_with(level, message, &fields);
    #[cfg(not(target_family = "wasm"))]
    crate::mock::with(|host| {
        if (level as u8) >= (host.level as u8) {
            host.lines.push(crate::mock::Line { level, message: message.to_string(), fields });
        }
    });
}

/// A line of a level, if it would be kept: `write!(Level::Info, "{x}")`.
#[doc(hidden)]
#[macro_export]
macro_rules! __log_line {
    ($level:ident, $($text:tt)+) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::write($crate::log::Level::$level, &::std::format!($($text)+));
        }
    };
}

macro_rules! level_macro {
    ($dollar:tt $name:ident $inner:ident $level:ident) => {
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $inner {
                    ($dollar($dollar text:tt)+) => { $crate::__log_line!($level, $dollar($dollar text)+) };
                }
        #[doc(inline)]
        pub use $inner as $name;
    };
}

level_macro!($ trace __log_trace Trace);
level_macro!($ debug __log_debug Debug);
level_macro!($ info __log_info Info);
level_macro!($ warn __log_warn Warn);
level_macro!($ error __log_error Error);
level_macro!($ critical __log_critical Critical);

#[cfg(test)]
mod tests {
    use super::Level;
    use crate::log;
    use crate::mock::MockHost;

    #[test]
    fn a_line_below_the_level_is_not_even_made() {
        let host = MockHost::new().level(Level::Warn);
        let made = std::cell::Cell::new(0);
        let text = || {
            made.set(made.get() + 1);
            "x"
        };
        log::info!("{}", text());
        log::error!("{} {}", text(), 1);
        assert_eq!(made.get(), 1);
        let lines = host.lines();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].level, lines[0].message.as_str()), (Level::Error, "x 1"));
    }
}
