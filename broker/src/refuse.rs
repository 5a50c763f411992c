//! APIs and versions that are not offered. Kafka closes the connection; where the answer's one error code lets us, we
//! say UNSUPPORTED_VERSION, so that whoever looks at the wire knows why.
use crate::dispatch::{Outcome, Unspeakable};
use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, Message};

/// Writes the answer to a request that was not looked at.
pub(crate) fn refuse(
    key: i16,
    version: i16,
    correlation_id: i32,
    out: &mut BytesMut,
) -> Result<Outcome, Unspeakable> {
    let unsupported = ResponseError::UnsupportedVersion.code();
    macro_rules! answers {
        ($($api:ident => $response:ident, $error:expr;)*) => {
            match ApiKey::try_from(key) {
                $(Ok(ApiKey::$api) => say(ApiKey::$api, version, correlation_id, $response::default().with_error_code($error), out),)*
                _ => Err(format!("API {key} version {version} is not offered")),
            }
        };
    }
    answers! {
        // the next generation of groups (KIP-848) and share groups (KIP-932)
        ConsumerGroupHeartbeat => ConsumerGroupHeartbeatResponse, unsupported;
        ShareGroupHeartbeat => ShareGroupHeartbeatResponse, unsupported;
        ShareFetch => ShareFetchResponse, unsupported;
        ShareAcknowledge => ShareAcknowledgeResponse, unsupported;
        // versions of the second transaction protocol (KIP-890), and newer ones of what we have
        EndTxn => EndTxnResponse, unsupported;
        AddPartitionsToTxn => AddPartitionsToTxnResponse, unsupported;
        Fetch => FetchResponse, unsupported;
        // there is no security, so nobody has to say who it is
        SaslHandshake => SaslHandshakeResponse, ResponseError::IllegalSaslState.code();
        SaslAuthenticate => SaslAuthenticateResponse, ResponseError::IllegalSaslState.code();
        CreateDelegationToken => CreateDelegationTokenResponse, unsupported;
        RenewDelegationToken => RenewDelegationTokenResponse, unsupported;
        ExpireDelegationToken => ExpireDelegationTokenResponse, unsupported;
        DescribeDelegationToken => DescribeDelegationTokenResponse, unsupported;
        DescribeUserScramCredentials => DescribeUserScramCredentialsResponse, unsupported;
        // there are no other nodes and no features to switch
        AlterPartitionReassignments => AlterPartitionReassignmentsResponse, unsupported;
        DescribeQuorum => DescribeQuorumResponse, unsupported;
        UnregisterBroker => UnregisterBrokerResponse, unsupported;
        UpdateFeatures => UpdateFeaturesResponse, unsupported;
        ListConfigResources => ListConfigResourcesResponse, unsupported;
        GetTelemetrySubscriptions => GetTelemetrySubscriptionsResponse, unsupported;
        PushTelemetry => PushTelemetryResponse, unsupported;
    }
}

fn say<T: Encodable + Message>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    answer: T,
    out: &mut BytesMut,
) -> Result<Outcome, Unspeakable> {
    if !(T::VERSIONS.min..=T::VERSIONS.max).contains(&version) {
        return Err(format!("{api:?} version {version} is not known"));
    }
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header.encode(out, api.response_header_version(version)).map_err(|failure| failure.to_string())?;
    answer.encode(out, version).map_err(|failure| failure.to_string())?;
    Ok(Outcome::Answered)
}
