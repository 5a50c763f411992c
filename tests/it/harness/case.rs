//! One test's own corner of the broker: its topics and groups carry its name.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use drover_broker::Broker;

use super::broker;
use super::host::Setup;
use super::kafka::{Kafka, Record, Send};
use super::wait::{eventually, eventually_is};

pub struct Case {
    pub kafka: Arc<Kafka>,
    name: String,
    broker: Option<Broker>,
    dir: PathBuf,
}

impl Case {
    /// On the broker of this run.
    pub fn new() -> Self {
        static SHARED: OnceLock<Arc<Kafka>> = OnceLock::new();
        let kafka = SHARED.get_or_init(|| Kafka::new(broker::bootstrap()));
        Self::of(Arc::clone(kafka), None)
    }

    /// On an embedded broker of its own, whatever the run's is: for faults.
    pub fn with_faults() -> Self {
        let broker = broker::own();
        Self::of(Kafka::new(broker.bootstrap()), Some(broker))
    }

    fn of(kafka: Arc<Kafka>, broker: Option<Broker>) -> Self {
        log_when_asked();
        let name = std::thread::current().name().unwrap_or("main").replace("::", ".").replace('_', "-");
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cases").join(&name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Self { kafka, name, broker, dir }
    }

    pub fn faults(&self) -> &drover_broker::Faults {
        self.broker.as_ref().expect("made by `with_faults`").faults()
    }

    /// Files of this test.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Makes a topic; its full name.
    pub fn topic(&self, name: &str, partitions: i32) -> String {
        self.topic_with(name, partitions, &[])
    }

    pub fn topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = self.named(name);
        self.kafka.make_topic(&name, partitions, settings);
        name
    }

    /// The group of hosts that name no other.
    pub fn group(&self) -> String {
        self.named("g")
    }

    pub fn dead_topic(&self) -> String {
        self.named("g.dead")
    }

    pub fn park_topic(&self) -> String {
        self.named("g.park")
    }

    pub fn named(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }

    pub fn host(&self) -> Setup {
        Setup::new(self)
    }

    pub fn produce(&self, topic: &str, all: impl IntoIterator<Item = Send>) -> Vec<(i32, i64)> {
        self.kafka.produce(topic, all)
    }

    /// Waits until the topic holds so many records, at least; gives them all.
    #[track_caller]
    pub fn records(&self, topic: &str, count: i64) -> Vec<Record> {
        let held = || self.kafka.ends(topic).iter().map(|it| it.1 - it.0).sum::<i64>();
        eventually(&format!("{count} records in {topic}"), || (held() >= count).then_some(()));
        self.kafka.read(topic)
    }

    /// Waits until the group of [`Self::group`] has committed just this, partition by partition.
    #[track_caller]
    pub fn committed(&self, topic: &str, offsets: &[i64]) {
        self.committed_by(&self.group(), topic, offsets);
    }

    #[track_caller]
    pub fn committed_by(&self, group: &str, topic: &str, offsets: &[i64]) {
        let all: Vec<_> = offsets.iter().copied().map(Some).collect();
        eventually_is("committed offsets", &all, || self.kafka.committed(group, topic));
    }

    /// Waits until everything in the topic is committed.
    #[track_caller]
    pub fn all_committed(&self, topic: &str) {
        let ends: Vec<i64> = self.kafka.ends(topic).iter().map(|it| it.1).collect();
        // A partition without records may have no commit, or one at its end.
        eventually_is("everything committed", &ends, || {
            let committed = self.kafka.committed(&self.group(), topic);
            committed.into_iter().map(|it| it.unwrap_or(0)).collect()
        });
    }
}

/// With RUST_LOG set, what hosts log is shown for tests that fail.
fn log_when_asked() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_default_env()
            && std::env::var_os("RUST_LOG").is_some()
        {
            let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        }
    });
}
