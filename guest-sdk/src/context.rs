//! What a handler may ask about this attempt.

#[cfg(target_family = "wasm")]
use crate::bindings::imports::drover::plugin::context as imported;

/// The message's value, copied from the host at each call; none for a tombstone. A handler has
/// [`Message::value`](crate::Message::value), which asks once; this is for a judge.
pub fn value() -> Option<Vec<u8>> {
    #[cfg(target_family = "wasm")]
    return imported::value();
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| host.value.clone());
}

/// What is left of the attempt's time.
pub fn remaining_ms() -> u32 {
    #[cfg(target_family = "wasm")]
    return imported::remaining_ms();
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| host.remaining_ms);
}

/// W3C trace context of the message.
pub fn traceparent() -> Option<String> {
    #[cfg(target_family = "wasm")]
    return imported::traceparent();
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| host.traceparent.clone());
}

/// True while a candidate is only watched: nothing it does has an effect.
pub fn is_shadow() -> bool {
    #[cfg(target_family = "wasm")]
    return imported::is_shadow();
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| host.shadow);
}

/// The uri of the server chosen for this attempt; none where there is none in service.
///
/// A handler that calls this anywhere has its server chosen before it runs.
pub fn server() -> Option<String> {
    #[cfg(target_family = "wasm")]
    return imported::server();
    #[cfg(not(target_family = "wasm"))]
    return crate::mock::with(|host| host.server.clone());
}
