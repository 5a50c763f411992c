//! Access control and quotas, which this broker does not have: it says so in the protocol's words.
use crate::dispatch::Call;
use crate::server::Shared;
use crate::wire::text;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

fn no_authorizer() -> (i16, Option<StrBytes>) {
    (ResponseError::SecurityDisabled.code(), Some(text("No Authorizer is configured on the broker.")))
}

impl Shared {
    pub fn describe_acls(&self, _call: &Call, _request: DescribeAclsRequest) -> DescribeAclsResponse {
        let (error, why) = no_authorizer();
        DescribeAclsResponse::default().with_error_code(error).with_error_message(why)
    }

    pub fn create_acls(&self, _call: &Call, request: CreateAclsRequest) -> CreateAclsResponse {
        let (error, why) = no_authorizer();
        let one = |_: &create_acls_request::AclCreation| {
            AclCreationResult::default().with_error_code(error).with_error_message(why.clone())
        };
        CreateAclsResponse::default().with_results(request.creations.iter().map(one).collect())
    }

    pub fn delete_acls(&self, _call: &Call, request: DeleteAclsRequest) -> DeleteAclsResponse {
        let (error, why) = no_authorizer();
        let one = |_: &delete_acls_request::DeleteAclsFilter| {
            DeleteAclsFilterResult::default().with_error_code(error).with_error_message(why.clone())
        };
        DeleteAclsResponse::default().with_filter_results(request.filters.iter().map(one).collect())
    }

    /// No quotas are set, and none can be.
    pub fn describe_client_quotas(
        &self,
        _call: &Call,
        _request: DescribeClientQuotasRequest,
    ) -> DescribeClientQuotasResponse {
        DescribeClientQuotasResponse::default().with_entries(Some(Vec::new()))
    }
}
