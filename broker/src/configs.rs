//! Settings from outside: DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.
use crate::admin::{FROM_DEFAULT, FROM_TOPIC};
use crate::dispatch::Call;
use crate::error::{Answer, Refusal, code};
use crate::server::Shared;
use crate::settings::{DEFINITIONS, Definition, Kind, Overrides, definition};
use crate::state::State;
use crate::wire::{NODE, text};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Altered;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult as Shown, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as Altering, AlterableConfig,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementallyAltered;
use kafka_protocol::messages::*;
use std::collections::HashSet;

/// Kinds of resource.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
/// Where a broker's value comes from: its configuration when it started.
const FROM_STARTUP: i8 = 4;

/// What IncrementalAlterConfigs does to a value.
mod operation {
    pub const SET: i8 = 0;
    pub const DELETE: i8 = 1;
    pub const APPEND: i8 = 2;
    pub const SUBTRACT: i8 = 3;
}

impl Shared {
    pub fn describe_configs(&self, call: &Call, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
        let state = self.state();
        let results = request.resources.iter().map(|resource| {
            let described = call
                .fault
                .whole()
                .map_err(Into::into)
                .and_then(|()| self.describe_resource(&state, resource));
            let out = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
                .with_error_code(code(&described));
            match described {
                Err(refusal) => out.with_error_message(refusal.message.as_deref().map(text)),
                Ok(mut shown) => {
                    let keys = resource.configuration_keys.as_ref();
                    shown.retain(|shown| keys.is_none_or(|keys| keys.contains(&shown.name)));
                    for shown in &mut shown {
                        if request.include_synonyms {
                            let synonym = DescribeConfigsSynonym::default()
                                .with_name(shown.name.clone())
                                .with_value(shown.value.clone());
                            shown.synonyms = vec![synonym.with_source(shown.config_source)];
                        }
                        if !request.include_documentation {
                            shown.documentation = None;
                        }
                    }
                    out.with_configs(shown)
                }
            }
        });
        DescribeConfigsResponse::default().with_results(results.collect())
    }

    fn describe_resource(&self, state: &State, resource: &DescribeConfigsResource) -> Answer<Vec<Shown>> {
        match resource.resource_type {
            TOPIC => {
                crate::topics::check_name(&resource.resource_name)?;
                let topic = state
                    .topics
                    .get(resource.resource_name.as_str())
                    .ok_or(ResponseError::UnknownTopicOrPartition)?;
                Ok(DEFINITIONS.iter().map(|definition| of_topic(definition, &topic.overrides)).collect())
            }
            BROKER if is_us(&resource.resource_name) => Ok(self.of_broker()),
            BROKER if resource.resource_name.is_empty() => Ok(Vec::new()), // the cluster-wide defaults: none are set
            BROKER => {
                Err(Refusal::new(ResponseError::InvalidRequest, format!("the only broker is {}", NODE.0)))
            }
            BROKER_LOGGER if is_us(&resource.resource_name) => Ok(Vec::new()),
            _ => Err(Refusal::new(
                ResponseError::InvalidRequest,
                "only topics and the broker have settings here",
            )),
        }
    }

    /// How this broker was started, in Kafka's words.
    fn of_broker(&self) -> Vec<Shown> {
        let config = &self.config;
        let directory =
            config.data.as_ref().map_or_else(|| "(memory)".to_string(), |data| data.display().to_string());
        let limits = &config.limits;
        let settings = [
            ("advertised.listeners", format!("PLAINTEXT://{}:{}", self.node.host, self.node.port)),
            ("auto.create.topics.enable", config.auto_create.to_string()),
            ("broker.id", NODE.0.to_string()),
            ("default.replication.factor", "1".to_string()),
            ("group.initial.rebalance.delay.ms", config.first_join_delay.as_millis().to_string()),
            ("group.max.session.timeout.ms", limits.session_max.as_millis().to_string()),
            ("group.min.session.timeout.ms", limits.session_min.as_millis().to_string()),
            ("listeners", format!("PLAINTEXT://{}", self.node.listening)),
            ("log.dirs", directory),
            ("log.retention.check.interval.ms", config.housekeeping.as_millis().to_string()),
            ("max.connections", limits.connections.to_string()),
            ("node.id", NODE.0.to_string()),
            ("num.partitions", config.default_partitions.to_string()),
            ("offset.metadata.max.bytes", crate::offsets::METADATA_MAX.to_string()),
            ("offsets.retention.minutes", (config.offsets_kept.as_secs() / 60).to_string()),
            ("socket.request.max.bytes", limits.frame_bytes.to_string()),
        ];
        let shown = |(name, value): (&str, String)| {
            Shown::default()
                .with_name(text(name))
                .with_value(Some(text(&value)))
                .with_read_only(true)
                .with_config_source(FROM_STARTUP)
        };
        settings.into_iter().map(shown).collect()
    }

    pub fn alter_configs(&self, call: &Call, request: AlterConfigsRequest) -> AlterConfigsResponse {
        let mut state = self.state();
        let responses = request.resources.iter().map(|resource| {
            let outcome = call.fault.whole().map_err(Into::into).and_then(|()| {
                let name = topic_of(resource.resource_type, &resource.resource_name)?;
                let mut overrides = Overrides::new();
                for setting in &resource.configs {
                    let Some(value) = &setting.value else {
                        return Err(no_value(&setting.name));
                    };
                    overrides.insert(setting.name.to_string(), value.to_string());
                }
                state.configure_topic(name, overrides, request.validate_only)
            });
            Altered::default()
                .with_error_code(code(&outcome))
                .with_error_message(outcome.err().and_then(|refusal| refusal.message).as_deref().map(text))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
        });
        AlterConfigsResponse::default().with_responses(responses.collect())
    }

    pub fn incremental_alter_configs(
        &self,
        call: &Call,
        request: IncrementalAlterConfigsRequest,
    ) -> IncrementalAlterConfigsResponse {
        let mut state = self.state();
        let responses = request.resources.iter().map(|resource| {
            let outcome = call
                .fault
                .whole()
                .map_err(Into::into)
                .and_then(|()| alter(&mut state, resource, request.validate_only));
            IncrementallyAltered::default()
                .with_error_code(code(&outcome))
                .with_error_message(outcome.err().and_then(|refusal| refusal.message).as_deref().map(text))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
        });
        IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
    }
}

fn is_us(name: &str) -> bool {
    name == NODE.0.to_string()
}

fn of_topic(definition: &Definition, overrides: &Overrides) -> Shown {
    let own = overrides.get(definition.name);
    // the protocol's numbers of kinds
    let kind = match definition.kind {
        Kind::Flag | Kind::NeverTrue => 1,
        Kind::OneOf(_) => 2,
        Kind::Int(..) | Kind::GzipLevel => 3,
        Kind::Long(..) => 5,
        Kind::Ratio => 6,
        Kind::SomeOf(_) | Kind::Replicas => 7,
    };
    Shown::default()
        .with_name(text(definition.name))
        .with_value(Some(text(own.map_or(definition.default, |own| own.trim()))))
        .with_config_source(if own.is_some() { FROM_TOPIC } else { FROM_DEFAULT })
        .with_config_type(kind)
        .with_documentation(Some(text(definition.documentation)))
}

fn topic_of(resource_type: i8, name: &str) -> Answer<&str> {
    match resource_type {
        TOPIC => Ok(name),
        BROKER => Err(Refusal::new(
            ResponseError::InvalidRequest,
            "this broker's own settings are given at its start",
        )),
        _ => Err(Refusal::new(
            ResponseError::InvalidRequest,
            "only topics have settings that can be altered here",
        )),
    }
}

fn no_value(name: &str) -> Refusal {
    Refusal::new(ResponseError::InvalidRequest, format!("Null value not supported for: {name}"))
}

fn alter(state: &mut State, resource: &Altering, validate_only: bool) -> Answer<()> {
    let name = topic_of(resource.resource_type, &resource.resource_name)?;
    let topic = state.topics.get(name).ok_or_else(|| {
        let why = format!("The topic '{name}' does not exist.");
        Refusal::new(ResponseError::UnknownTopicOrPartition, why)
    })?;
    let mut overrides = topic.overrides.clone();
    let mut seen = HashSet::new();
    for change in &resource.configs {
        if !seen.insert(&change.name) {
            return Err(Refusal::new(ResponseError::InvalidRequest, "Error due to duplicate config keys"));
        }
        apply(&mut overrides, change)?;
    }
    state.configure_topic(name, overrides, validate_only)
}

fn apply(overrides: &mut Overrides, change: &AlterableConfig) -> Answer<()> {
    let name = change.name.to_string();
    if change.config_operation == operation::DELETE {
        overrides.remove(&name);
        return Ok(());
    }
    let value = change.value.as_ref().ok_or_else(|| no_value(&name))?.as_str();
    let words = |list: &str| -> Vec<String> {
        list.split(',').map(|word| word.trim().to_string()).filter(|word| !word.is_empty()).collect()
    };
    let is_list = definition(&name)
        .is_some_and(|definition| matches!(definition.kind, Kind::SomeOf(_) | Kind::Replicas));
    let current = || {
        overrides.get(&name).cloned().or(definition(&name).map(|d| d.default.to_string())).unwrap_or_default()
    };
    let value = match change.config_operation {
        operation::SET => value.to_string(),
        operation::APPEND | operation::SUBTRACT if !is_list => {
            return Err(Refusal::new(
                ResponseError::InvalidConfig,
                format!("{name} is no list: APPEND and SUBTRACT are not allowed"),
            ));
        }
        operation::APPEND => {
            let mut list = words(&current());
            for word in words(value) {
                if !list.contains(&word) {
                    list.push(word);
                }
            }
            list.join(",")
        }
        operation::SUBTRACT => {
            let less = words(value);
            words(&current()).into_iter().filter(|word| !less.contains(word)).collect::<Vec<_>>().join(",")
        }
        other => {
            return Err(Refusal::new(ResponseError::InvalidRequest, format!("unknown operation {other}")));
        }
    };
    overrides.insert(name, value);
    Ok(())
}
