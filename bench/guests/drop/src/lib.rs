//! `drop`: says of every message that it is done. Those with headers, which `drover bench` gives to the first
//! and the last ones only, it passes on: so the sink sees when the host began and when it was through.

use drover_guest::forward::PassOn;
use drover_guest::prelude::*;
use drover_guest::verdict::done;

#[handler]
fn drop_unless_marked(message: Message) -> Result<Action> {
    if message.headers.is_empty() {
        finish(done())
    } else {
        deliver(PassOn::default().request(&message.headers))
    }
}
