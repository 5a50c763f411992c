//! Small words of the wire: the codec's string types, and the nodes every answer names.
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;

/// The one node there is; it leads, coordinates and controls.
pub(crate) const NODE: BrokerId = BrokerId(1);
/// There never was another leader.
pub(crate) const LEADER_EPOCH: i32 = 0;

pub(crate) fn text(of: &str) -> StrBytes {
    StrBytes::from_string(of.to_string())
}
pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}
