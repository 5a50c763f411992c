//! Kafka as the tests use it themselves: producing, reading everything, asking for committed offsets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};

const WAIT: Duration = Duration::from_secs(30);

/// Clients of one broker. The producer and the admin client are shared by all tests of a run.
pub struct Kafka {
    pub bootstrap: String,
    producer: ThreadedProducer<Reports>,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
}

/// A record to be produced.
#[derive(Clone, Debug, Default)]
pub struct Send {
    pub partition: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp_ms: Option<i64>,
}

impl Send {
    /// In the native form, without key or value.
    pub fn command(command: &str) -> Self {
        Self::default().header("drover-command", command)
    }

    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    #[must_use]
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = Some(value.into());
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), Some(value.into())));
        self
    }

    #[must_use]
    pub fn to(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    #[must_use]
    pub fn at(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

/// A record that was read.
#[derive(Clone, Debug)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// Of a header that has to be there, as text; the last one of the name.
    #[track_caller]
    pub fn said(&self, name: &str) -> String {
        self.header(name).unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().rfind(|it| it.0 == name)?;
        Some(String::from_utf8_lossy(found.1.as_ref()?).into_owned())
    }
}

impl Kafka {
    pub fn new(bootstrap: String) -> Arc<Self> {
        let config = client(&bootstrap);
        let mut producing = config.clone();
        producing.set("linger.ms", "1").set("message.max.bytes", "33554432").set("acks", "all");
        producing.set("partitioner", "murmur2_random").set("enable.idempotence", "true");
        Arc::new(Self {
            producer: producing.create_with_context(Reports).unwrap(),
            admin: config.create().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            bootstrap,
        })
    }

    pub fn make_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let answer = self.runtime.block_on(self.admin.create_topics([&new], &options())).unwrap();
        answer.into_iter().next().unwrap().unwrap();
    }

    pub fn delete_topic(&self, name: &str) {
        let answer = self.runtime.block_on(self.admin.delete_topics(&[name], &options())).unwrap();
        answer.into_iter().next().unwrap().unwrap();
    }

    pub fn add_partitions(&self, name: &str, count: usize) {
        let more = NewPartitions::new(name, count);
        let answer = self.runtime.block_on(self.admin.create_partitions([&more], &options())).unwrap();
        answer.into_iter().next().unwrap().unwrap();
    }

    /// Cuts a partition's log below this offset.
    pub fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.runtime.block_on(self.admin.delete_records(&list, &options())).unwrap();
    }

    /// Sends all, in order for each partition; where they stand, when the broker has them all.
    pub fn produce(&self, topic: &str, all: impl IntoIterator<Item = Send>) -> Vec<(i32, i64)> {
        let (report, reports) = std::sync::mpsc::channel();
        let mut sent = 0;
        for (number, it) in all.into_iter().enumerate() {
            let opaque = Box::new((number, report.clone()));
            let mut record: BaseRecord<'_, [u8], [u8], _> = BaseRecord::with_opaque_to(topic, opaque);
            record.partition = it.partition;
            record.key = it.key.as_deref();
            record.payload = it.value.as_deref();
            record.timestamp = it.timestamp_ms;
            if !it.headers.is_empty() {
                record.headers = Some(owned(&it.headers));
            }
            while let Err((error, back)) = self.producer.send(record) {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
                self.producer.poll(Duration::from_millis(10));
                record = back;
            }
            sent += 1;
        }
        drop(report);
        let mut places: Vec<_> = reports.iter().map(|(number, place)| (number, place.unwrap())).collect();
        assert_eq!(places.len(), sent, "every record is reported");
        places.sort_unstable_by_key(|it| it.0);
        places.into_iter().map(|it| it.1).collect()
    }

    /// Where the first record lies and where the next will, for each partition.
    pub fn ends(&self, topic: &str) -> Vec<(i64, i64)> {
        let client = self.producer.client();
        (0..self.partitions(topic)).map(|it| client.fetch_watermarks(topic, it, WAIT).unwrap()).collect()
    }

    pub fn partitions(&self, topic: &str) -> i32 {
        let metadata = self.producer.client().fetch_metadata(Some(topic), WAIT).unwrap();
        metadata.topics()[0].partitions().len() as i32
    }

    /// Everything that the topic holds now, from its beginning, in order for each partition.
    pub fn read(&self, topic: &str) -> Vec<Record> {
        let ends = self.ends(topic);
        let mut config = client(&self.bootstrap);
        config.set("group.id", "tests-read").set("enable.auto.commit", "false");
        config.set("enable.partition.eof", "true").set("isolation.level", "read_uncommitted");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..ends.len() {
            list.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut records, mut ended) = (Vec::new(), 0);
        let until = Instant::now() + WAIT;
        while ended < ends.len() {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(it)) => records.push(record(&it.detach())),
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => panic!("reading {topic}: {error}"),
                None => assert!(Instant::now() < until, "{topic} cannot be read to its end"),
            }
        }
        records.sort_by_key(|it| (it.partition, it.offset));
        records
    }

    /// What the group has committed for each partition.
    pub fn committed(&self, group: &str, topic: &str) -> Vec<Option<i64>> {
        let mut config = client(&self.bootstrap);
        config.set("group.id", group);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            list.add_partition(topic, partition);
        }
        let committed = consumer.committed_offsets(list, WAIT).unwrap();
        let offset = |it: Offset| if let Offset::Offset(it) = it { Some(it) } else { None };
        committed.elements().iter().map(|it| offset(it.offset())).collect()
    }

    /// Commits by hand, as an operator's tool does for a group without members.
    pub fn commit(&self, group: &str, topic: &str, offsets: &[i64]) {
        let mut config = client(&self.bootstrap);
        config.set("group.id", group);
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets.iter().enumerate() {
            list.add_partition_offset(topic, partition as i32, Offset::Offset(*offset)).unwrap();
        }
        consumer.commit(&list, rdkafka::consumer::CommitMode::Sync).unwrap();
    }

    /// Ids of the group's members.
    pub fn members(&self, group: &str) -> Vec<String> {
        let list = self.producer.client().fetch_group_list(Some(group), WAIT).unwrap();
        let groups = list.groups();
        groups.iter().flat_map(|it| it.members().iter().map(|it| it.id().to_owned())).collect()
    }

    /// Has the group forget members that were killed, as their session's end would: LeaveGroup, version 0, for each.
    pub fn bury(&self, group: &str) {
        for member in self.members(group) {
            let text = |it: &str| [&(it.len() as u16).to_be_bytes(), it.as_bytes()].concat();
            let (api, version, correlation) = (13_u16, 0_u16, 1_u32);
            let mut request = [api.to_be_bytes(), version.to_be_bytes()].concat();
            request.extend(correlation.to_be_bytes());
            request.extend(text("tests"));
            request.extend(text(group));
            request.extend(text(&member));
            let mut stream = TcpStream::connect(&self.bootstrap).unwrap();
            stream.write_all(&(request.len() as u32).to_be_bytes()).unwrap();
            stream.write_all(&request).unwrap();
            // Length, correlation, error code: whatever it says, a member that is still there is asked for again.
            stream.read_exact(&mut [0; 10]).unwrap();
        }
    }

    /// Further settings for a client of the test's own.
    pub fn config(&self) -> ClientConfig {
        client(&self.bootstrap)
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("reconnect.backoff.max.ms", "500");
    config.set("allow.auto.create.topics", "false");
    config
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT))
}

fn owned(headers: &[(String, Option<Vec<u8>>)]) -> OwnedHeaders {
    headers
        .iter()
        .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: value.as_ref() }))
}

fn record(it: &OwnedMessage) -> Record {
    let headers = it.headers().map(|all| {
        let one = |it: Header<'_, &[u8]>| (it.key.to_owned(), it.value.map(<[u8]>::to_vec));
        all.iter().map(one).collect()
    });
    Record {
        partition: it.partition(),
        offset: it.offset(),
        key: it.key().map(<[u8]>::to_vec),
        value: it.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}

/// Each record's report goes to who sent it.
struct Reports;

type Report = Result<(i32, i64), KafkaError>;

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<(usize, std::sync::mpsc::Sender<(usize, Report)>)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let place = match result {
            Ok(it) => Ok((it.partition(), it.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        let (number, report) = *opaque;
        let _ = report.send((number, place));
    }
}
