//! The page that Prometheus reads: every number that we publish, with its help line.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::HistogramSum;
use super::picture::{GroupNumbers, LaneNumbers, Picture, ServerNumbers};
use super::plugin::Series;
use super::{Counters, RouteSum, STOPPED_KINDS, lock};

/// In which of its two text formats Prometheus reads the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    /// Version 0.0.4: what every scraper understands.
    Plain,
}

impl Format {
    /// `accept`: what the reader asks for.
    pub fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Plain }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

type Labels = Vec<(String, String)>;

#[derive(Debug)]
enum Value {
    Count(u64),
    Level(f64),
    Times { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

#[derive(Debug)]
struct Family {
    name: String,
    help: String,
    unit: Option<&'static str>,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

#[derive(Debug, Default)]
struct Page {
    families: Vec<Family>,
}

impl Page {
    fn family(&mut self, kind: MetricType, name: &str, unit: Option<&'static str>, help: &str) -> &mut Self {
        let (name, help) = (name.to_owned(), help.to_owned());
        self.families.push(Family { name, help, unit, kind, samples: Vec::new() });
        self
    }

    fn counter(&mut self, name: &str, help: &str) -> &mut Self {
        self.family(MetricType::Counter, name, None, help)
    }

    fn gauge(&mut self, name: &str, help: &str) -> &mut Self {
        self.family(MetricType::Gauge, name, None, help)
    }

    fn seconds(&mut self, name: &str, help: &str) -> &mut Self {
        self.family(MetricType::Histogram, name, Some("seconds"), help)
    }

    fn put(&mut self, labels: Labels, value: Value) {
        if let Some(family) = self.families.last_mut() {
            family.samples.push((labels, value));
        }
    }

    fn count(&mut self, labels: &[(&str, &str)], value: u64) {
        self.put(owned(labels), Value::Count(value));
    }

    fn level(&mut self, labels: &[(&str, &str)], value: u64) {
        self.put(owned(labels), Value::Level(value as f64));
    }

    fn times(&mut self, labels: &[(&str, &str)], it: &HistogramSum) {
        let value = Value::Times { sum: it.sum_us as f64 / 1e6, count: it.count(), buckets: it.seconds() };
        self.put(owned(labels), value);
    }
}

fn owned(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for family in self.families.iter().filter(|it| !it.samples.is_empty()) {
            let unit = family.unit.map(|it| Unit::Other(it.to_owned()));
            let kind = family.kind;
            let mut metric = encoder.encode_descriptor(&family.name, &family.help, unit.as_ref(), kind)?;
            for (labels, value) in &family.samples {
                let mut sample = metric.encode_family(labels)?;
                match value {
                    Value::Count(it) => sample.encode_counter::<NoLabelSet, u64, f64>(it, None)?,
                    Value::Level(it) => sample.encode_gauge(it)?,
                    Value::Times { sum, count, buckets } => {
                        sample.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The whole page.
pub fn render(counters: &Counters, picture: &Picture, format: Format) -> String {
    let mut page = Page::default();
    host(&mut page, picture);
    routes(&mut page, counters);
    groups(&mut page, picture);
    lanes(&mut page, picture);
    servers(&mut page, picture);
    gateway(&mut page, counters);
    plugins(&mut page, counters);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(page));
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = text::encode(&mut text, &registry);
    match format {
        Format::OpenMetrics => text,
        Format::Plain => plain(&text),
    }
}

/// The older format names a counter with its `_total` in its comments too, and knows neither units nor an end.
fn plain(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if line.starts_with("# HELP ") {
            help = Some(line);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or((kind, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            let words = help.take().and_then(|it| it.splitn(4, ' ').nth(3)).unwrap_or_default();
            all += &format!("# HELP {name}{suffix} {words}\n# TYPE {name}{suffix} {kind}\n");
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            all += line;
            all.push('\n');
        }
    }
    all
}

fn host(page: &mut Page, picture: &Picture) {
    page.gauge("drover_ready", "Whether this host is ready, 0 or 1").level(&[], u64::from(picture.ready));
    page.gauge("drover_generation", "Number of what runs; grows with every reload and upload");
    page.level(&[], picture.generation);
    page.gauge("drover_outbox_queued", "Records queued to be written to Kafka and not reported yet");
    page.level(&[], picture.outbox_queued);
}

fn routes(page: &mut Page, counters: &Counters) {
    let all = counters.by_route();
    type Put<'a> = &'a dyn Fn(&mut Page, &[(&str, &str)], &RouteSum);
    let each = |page: &mut Page, put: Put<'_>| {
        for (key, sum) in &all {
            put(page, &[("group", &key.group), ("topic", &key.topic), ("route", &key.route)], sum);
        }
    };
    page.counter("drover_messages", "Messages whose outcome was carried out");
    each(page, &|page, labels, sum| {
        for (outcome, count) in sum.outcomes() {
            page.count(&[labels, &[("outcome", outcome)]].concat(), count);
        }
    });
    for ((group, topic, outcome), count) in counters.by_unrouted() {
        let labels = [("group", &*group), ("topic", &*topic), ("route", ""), ("outcome", outcome)];
        page.count(&labels, count);
    }
    page.counter("drover_attempts", "Attempts to deliver a message");
    each(page, &|page, labels, sum| page.count(labels, sum.attempts));
    page.counter("drover_attempt_failures", "Attempts that failed, be it for good");
    each(page, &|page, labels, sum| page.count(labels, sum.failures));
    page.counter("drover_retries", "Attempts that are made again");
    each(page, &|page, labels, sum| page.count(labels, sum.retries));
    page.counter("drover_handler_failures", "Calls of handlers that did not return, by how they ended");
    each(page, &|page, labels, sum| {
        for (kind, count) in STOPPED_KINDS.iter().zip(sum.plugin_failures) {
            page.count(&[labels, &[("kind", *kind)]].concat(), count);
        }
    });
    page.seconds("drover_answer", "Time until a service had answered, per attempt");
    each(page, &|page, labels, sum| page.times(labels, &sum.answers));
    page.seconds("drover_handler", "Time in the handler's plugin, per call");
    each(page, &|page, labels, sum| page.times(labels, &sum.plugin));
    page.counter(
        "drover_selector_failures",
        "Calls of selectors that did not name a server, by how they ended",
    );
    for ((app, kind), count) in lock(&counters.selector_failures).iter() {
        page.count(&[("app", app), ("kind", kind)], *count);
    }
    page.gauge("drover_waiting", "Messages that wait at this moment, by what for");
    for (wait, count) in counters.waits.levels() {
        page.level(&[("for", wait)], count);
    }
    page.counter(
        "drover_write_waits",
        "Times that a record which has to be written could not be, by its reason",
    );
    for (gate, count) in lock(&counters.gates).iter() {
        page.count(&[("gate", gate)], *count);
    }
}

fn groups(page: &mut Page, picture: &Picture) {
    // received = settled + open + dropped, in every picture.
    type Number = fn(&GroupNumbers) -> u64;
    let counters: [(&str, &str, Number); 8] = [
        ("drover_group_received", "Records received; settled + open + dropped", |it| it.received),
        ("drover_group_settled", "Records settled", |it| it.settled),
        ("drover_group_dropped", "Records given back unsettled; their next owner has them", |it| it.dropped),
        (
            "drover_group_repeated",
            "Records settled whose commit did not pass before they were given back",
            |it| it.repeated,
        ),
        ("drover_group_commits_acknowledged", "Commits of a partition that the broker took", |it| {
            it.commits_acknowledged
        }),
        ("drover_group_commits_refused", "Commits of a partition that the broker refused", |it| {
            it.commits_refused
        }),
        ("drover_group_late_acks", "Records settled after their partition was given back", |it| it.late_acks),
        ("drover_group_rebalances", "Changes of the partitions of this host", |it| it.rebalances),
    ];
    for (name, help, number) in counters {
        page.counter(name, help);
        for group in &picture.groups {
            page.count(&[("group", &group.group)], number(group));
        }
    }
    let gauges: [(&str, &str, Number); 3] = [
        ("drover_group_open", "Records received and not settled", |it| it.open),
        ("drover_group_joined", "Whether the group has taken this host in, 0 or 1", |it| {
            u64::from(it.joined)
        }),
        ("drover_group_commit_blocked", "Whether commits are refused at the moment, 0 or 1", |it| {
            u64::from(it.commit_blocked)
        }),
    ];
    for (name, help, number) in gauges {
        page.gauge(name, help);
        for group in &picture.groups {
            page.level(&[("group", &group.group)], number(group));
        }
    }
}

fn lanes(page: &mut Page, picture: &Picture) {
    type Number = fn(&LaneNumbers) -> Option<u64>;
    let gauges: [(&str, &str, Number); 6] = [
        ("drover_lane_low_offset", "All below it is settled: what is committed next", |it| {
            it.low.and_then(|it| u64::try_from(it).ok())
        }),
        ("drover_lane_next_offset", "Of the record that is received next", |it| {
            it.next.and_then(|it| u64::try_from(it).ok())
        }),
        ("drover_lane_committed_offset", "Acknowledged by the broker", |it| {
            it.committed.and_then(|it| u64::try_from(it).ok())
        }),
        ("drover_lane_open", "Records received and not settled", |it| Some(it.open)),
        ("drover_lane_held_bytes", "What these weigh", |it| Some(it.bytes)),
        ("drover_lane_waiting", "Whether nothing is taken for it at the moment, 0 or 1", |it| {
            Some(u64::from(it.gate.is_some()))
        }),
    ];
    for (name, help, number) in gauges {
        page.gauge(name, help);
        for group in &picture.groups {
            for lane in &group.lanes {
                let partition = lane.partition.to_string();
                let labels = [("group", &*group.group), ("topic", &*lane.topic), ("partition", &*partition)];
                if let Some(number) = number(lane) {
                    page.level(&labels, number);
                }
            }
        }
    }
}

fn servers(page: &mut Page, picture: &Picture) {
    type Number = fn(&ServerNumbers) -> u64;
    let counters: [(&str, &str, Number); 3] = [
        ("drover_server_requests", "Requests begun", |it| it.requests),
        ("drover_server_failures", "Requests that the server failed", |it| it.failures),
        ("drover_server_connections_opened", "Connections opened", |it| it.connections_opened),
    ];
    for (name, help, number) in counters {
        page.counter(name, help);
        for it in &picture.servers {
            page.count(&[("app", &it.app), ("server", &it.server)], number(it));
        }
    }
    let gauges: [(&str, &str, Number); 2] = [
        ("drover_server_in_flight", "Requests under way", |it| it.in_flight),
        ("drover_server_ejected", "Whether it is out of service, 0 or 1", |it| u64::from(it.ejected)),
    ];
    for (name, help, number) in gauges {
        page.gauge(name, help);
        for it in &picture.servers {
            page.level(&[("app", &it.app), ("server", &it.server)], number(it));
        }
    }
    let help =
        "Circuit breakers, of an app as a whole where no server is named: 0 normal, 1 broken, 2 recovering";
    page.gauge("drover_breaker_state", help);
    for it in &picture.breakers {
        page.level(&[("app", &it.app), ("server", &it.server)], it.state);
    }
    let help = "Mean time of its answers, the newest counting most";
    page.family(MetricType::Gauge, "drover_server_latency", Some("seconds"), help);
    for it in &picture.servers {
        let labels = owned(&[("app", &it.app), ("server", &it.server)]);
        page.put(labels, Value::Level(it.latency_ewma_us as f64 / 1e6));
    }
}

fn gateway(page: &mut Page, counters: &Counters) {
    let sum = counters.gateway.sum();
    page.counter("drover_gateway_received", "Requests to publish, refused ones too").count(&[], sum.received);
    page.counter("drover_gateway_accepted", "Requests that went on to Kafka").count(&[], sum.accepted);
    page.counter("drover_gateway_overload", "Requests refused because too many were waiting");
    page.count(&[], sum.overload);
    page.gauge("drover_gateway_waiting", "Requests that wait for Kafka").level(&[], sum.waiting);
    page.counter("drover_gateway_requests", "Requests to publish, by their form and what became of them");
    for ((door, result), count) in &sum.requests {
        page.count(&[("door", door.as_str()), ("result", result)], *count);
    }
    page.counter("drover_gateway_written", "Messages that Kafka has on all replicas in sync");
    for (topic, (success, _)) in &sum.topics {
        page.count(&[("topic", topic)], *success);
    }
    page.counter("drover_gateway_write_failures", "Messages that Kafka refused or did not answer in time");
    for (topic, (_, fail)) in &sum.topics {
        page.count(&[("topic", topic)], *fail);
    }
}

/// One family for each name, of whatever plugin; a name that two use for different kinds is told apart.
fn plugins(page: &mut Page, counters: &Counters) {
    let mut families: std::collections::BTreeMap<(String, u8), Vec<(Labels, Value)>> = Default::default();
    let mut dropped = Vec::new();
    for (plugin, metrics) in counters.plugins.all() {
        let (all, lost) = metrics.all();
        dropped.push((plugin.clone(), lost));
        for (name, series) in all {
            for (labels, value) in series {
                let mut own = owned(&[("plugin", &plugin)]);
                own.extend(labels);
                let (kind, value) = match value {
                    Series::Counter(it) => (0, Value::Count(it)),
                    Series::Gauge(it) => (1, Value::Level(it)),
                    Series::Summary(count, sum) => {
                        (2, Value::Times { sum, count, buckets: vec![(f64::INFINITY, count)] })
                    }
                };
                families.entry((name.clone(), kind)).or_default().push((own, value));
            }
        }
    }
    page.counter(
        "drover_plugin_dropped",
        "Numbers of a plugin that were over its limits, or of another kind",
    );
    for (plugin, lost) in dropped {
        page.count(&[("plugin", &plugin)], lost);
    }
    let mut last = "dropped".to_owned();
    for ((name, kind), samples) in families {
        let (metric, suffix) = match kind {
            0 => (MetricType::Counter, "_count"),
            1 => (MetricType::Gauge, "_gauge"),
            _ => (MetricType::Histogram, "_histogram"),
        };
        let suffix = if last == name || name == "dropped" { suffix } else { "" };
        let published = format!("drover_plugin_{name}{suffix}");
        page.family(metric, &published, None, "Counted by the plugin itself");
        last = name;
        for (labels, value) in samples {
            page.put(labels, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::Wait;
    use crate::metrics::{Door, PluginTable, RouteKey};

    fn counters() -> Counters {
        let plugins = PluginTable::default();
        let label = [("shop".to_owned(), "a\"b".to_owned())];
        plugins.of("first").add("seen_total", 2, &label);
        plugins.of("second").set("seen", 1.5, &[]);
        plugins.of("second").observe("size", 3.0, &[]);
        let counters = Counters::new(plugins);
        let text = |it: &str| Arc::from(it);
        let key = RouteKey { group: text("g"), topic: text("t"), route: text("shop/pay") };
        // Two shards are one sum.
        for shard in 0..2 {
            let route = counters.route(&key, shard);
            route.attempt();
            route.ended("done");
            route.plugin_failed("trap");
            route.answered(std::time::Duration::from_millis(7));
        }
        counters.waits.change(Wait::Server, 1);
        counters.gateway.received();
        counters.gateway.answered(Door::Alpaca, "ok");
        counters
    }

    /// S134, S138.
    #[test]
    fn both_formats() {
        let picture = Picture::default();
        let plain = render(&counters(), &picture, Format::Plain);
        let open = render(&counters(), &picture, Format::OpenMetrics);
        let of_both = [
            r#"drover_messages_total{group="g",topic="t",route="shop/pay",outcome="done"} 2"#,
            r#"drover_handler_failures_total{group="g",topic="t",route="shop/pay",kind="trap"} 2"#,
            r#"drover_answer_seconds_bucket{le="0.01",group="g",topic="t",route="shop/pay"} 2"#,
            r#"drover_answer_seconds_count{group="g",topic="t",route="shop/pay"} 2"#,
            r#"drover_gateway_requests_total{door="alpaca",result="ok"} 1"#,
            r#"drover_waiting{for="server"} 1.0"#,
            r#"drover_plugin_seen_total{plugin="first",shop="a\"b"} 2"#,
            r#"drover_plugin_seen_gauge{plugin="second"} 1.5"#,
            r#"drover_plugin_size_sum{plugin="second"} 3.0"#,
        ];
        for line in of_both {
            assert!(plain.lines().any(|it| it == line), "{line}\n{plain}");
            assert!(open.lines().any(|it| it == line), "{line}\n{open}");
        }
        assert!(plain.contains("# HELP drover_attempts_total Attempts to deliver a message\n# TYPE drover_attempts_total counter\n"));
        assert!(open.contains("# TYPE drover_attempts counter\n") && open.ends_with("# EOF\n"));
        assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"));
    }

    /// No family stands there twice, whatever plugins call theirs.
    #[test]
    fn names_are_used_once() {
        let plain = render(&counters(), &Picture::default(), Format::Plain);
        let mut names: Vec<_> =
            plain.lines().filter_map(|it| it.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
