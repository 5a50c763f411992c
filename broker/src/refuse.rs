//! APIs and versions that are not offered: where the protocol's answer has one error code, it is given.
use crate::dispatch::{Outcome, Unspeakable};
use bytes::BytesMut;

/// Nothing is understood here yet: the connection is closed, as Kafka does.
pub(crate) fn refuse(
    key: i16,
    version: i16,
    _correlation_id: i32,
    _out: &mut BytesMut,
) -> Result<Outcome, Unspeakable> {
    Err(format!("API {key} version {version} is not offered"))
}
