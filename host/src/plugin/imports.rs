//! What guests may call: one `impl` for each import of the contract. Nothing here blocks.

use super::bindings::handler::drover::plugin::{config, context, log, metrics, producer, types};
use super::bindings::selector::drover::plugin::selection;
use super::guest::{Emitted, Guest, Load};

type Pairs = Vec<(String, String)>;

fn level_of(level: log::Level) -> tracing::Level {
    match level {
        log::Level::Trace => tracing::Level::TRACE,
        log::Level::Debug => tracing::Level::DEBUG,
        log::Level::Info => tracing::Level::INFO,
        log::Level::Warn => tracing::Level::WARN,
        log::Level::Error | log::Level::Critical => tracing::Level::ERROR,
    }
}

impl log::Host for Guest {
    fn enabled(&mut self, level: log::Level) -> wasmtime::Result<bool> {
        Ok(level_of(level) <= tracing::level_filters::LevelFilter::current())
    }

    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.write_log(level_of(level), &message, &[]);
        Ok(())
    }

    fn log_with(&mut self, level: log::Level, message: String, fields: Pairs) -> wasmtime::Result<()> {
        self.write_log(level_of(level), &message, &fields);
        Ok(())
    }
}

impl config::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.config.get(&key).cloned())
    }

    fn get_all(&mut self) -> wasmtime::Result<Pairs> {
        Ok(self.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl context::Host for Guest {
    fn value(&mut self) -> wasmtime::Result<Option<Vec<u8>>> {
        self.copy_value()
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u32> {
        Ok(self.call.remaining_ms)
    }

    fn traceparent(&mut self) -> wasmtime::Result<Option<String>> {
        let message = self.call.message.as_ref();
        let found = message.and_then(|it| crate::domain::headers::find_str(&it.headers, "traceparent"));
        Ok(found.map(str::to_owned))
    }

    fn is_shadow(&mut self) -> wasmtime::Result<bool> {
        Ok(false)
    }

    fn server(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.call.server.as_deref().map(str::to_owned))
    }
}

impl metrics::Host for Guest {
    fn add(&mut self, name: String, delta: u64, labels: Pairs) -> wasmtime::Result<()> {
        self.metrics.add(&name, delta, &labels);
        Ok(())
    }

    fn set(&mut self, name: String, value: f64, labels: Pairs) -> wasmtime::Result<()> {
        self.metrics.set(&name, value, &labels);
        Ok(())
    }

    fn observe(&mut self, name: String, value: f64, labels: Pairs) -> wasmtime::Result<()> {
        self.metrics.observe(&name, value, &labels);
        Ok(())
    }
}

impl producer::Host for Guest {
    fn emit(&mut self, out: producer::Output) -> wasmtime::Result<Result<(), producer::Error>> {
        let length = |it: &Option<Vec<u8>>| it.as_ref().map_or(0, Vec::len);
        let bytes = length(&out.key) + length(&out.value) + out.headers.len() + out.topic.len();
        // What runs is decided there, and by Kafka itself: never by a guest.
        if out.topic.starts_with("_drover.") || out.topic.starts_with("__") {
            return Ok(Err(producer::Error::Denied(format!("{} is not for plugins", out.topic))));
        }
        if out.topic.is_empty() || out.topic.len() > 249 {
            return Ok(Err(producer::Error::Other("the topic's name is empty or too long".to_owned())));
        }
        if !crate::domain::headers::is_whole(&out.headers) {
            return Ok(Err(producer::Error::Other("the header block is malformed".to_owned())));
        }
        if self.emitted.len() >= self.limits.emitted_records {
            return Ok(Err(producer::Error::Quota));
        }
        if self.emitted_bytes + bytes > self.limits.emitted_bytes {
            return Ok(Err(producer::Error::TooLarge));
        }
        self.emitted_bytes += bytes;
        self.emitted.push(Emitted {
            topic: out.topic,
            key: out.key,
            value: out.value,
            headers: out.headers,
            partition: out.partition,
        });
        Ok(Ok(()))
    }
}

impl types::Host for Guest {}

impl selection::Host for Guest {
    fn load_of(&mut self, server: u32) -> wasmtime::Result<u64> {
        Ok(self.call.load(server).packed())
    }

    fn all_loads(&mut self) -> wasmtime::Result<selection::Loads> {
        let all: Vec<Load> = (0..self.call.servers).map(|it| self.call.load(it)).collect();
        Ok(selection::Loads {
            in_flight: all.iter().map(|it| it.in_flight).collect(),
            latency_ewma_us: all.iter().map(|it| it.latency_ewma_us).collect(),
            consecutive_failures: all.iter().map(|it| it.consecutive_failures).collect(),
        })
    }

    fn message(&mut self) -> wasmtime::Result<selection::Metadata> {
        let Some(message) = &self.call.message else {
            return Err(wasmtime::Error::msg("there is no message while servers are updated"));
        };
        let record = &message.record;
        Ok(selection::Metadata {
            command: message.command.to_string(),
            topic: record.topic.to_string(),
            partition: u32::try_from(record.partition).unwrap_or(0),
            offset: u64::try_from(record.offset).unwrap_or(0),
            key: record.key().map(<[u8]>::to_vec),
            log_id: message.log_id.to_string(),
            headers: message.headers.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::guest::Limits;
    use producer::Host as _;

    #[test]
    fn a_guest_writes_to_no_topic_of_ours_or_of_kafkas() {
        let mut guest =
            Guest::new("p".into(), std::sync::Arc::default(), &Limits::HANDLER, std::sync::Arc::default());
        let mut emit = |topic: &str| {
            let output = producer::Output {
                topic: topic.to_owned(),
                key: None,
                value: None,
                headers: Vec::new(),
                partition: None,
            };
            guest.emit(output).unwrap()
        };
        assert!(matches!(emit("_drover.control"), Err(producer::Error::Denied(_))));
        assert!(matches!(emit("__consumer_offsets"), Err(producer::Error::Denied(_))));
        assert!(emit("orders").is_ok());
        assert_eq!(guest.emitted.len(), 1);
    }
}
