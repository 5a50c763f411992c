//! Topics: made with stated settings, looked at.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::{ClientSettings, Error};

/// A topic as it is to be.
#[derive(Clone, Debug)]
pub struct NewTopicSettings {
    pub name: String,
    pub partitions: i32,
    /// -1 leaves it to the cluster.
    pub replication: i32,
    /// Further settings, such as `cleanup.policy`.
    pub config: Vec<(String, String)>,
}

#[derive(Clone)]
pub struct Topics {
    client: Arc<AdminClient<DefaultClientContext>>,
}

impl Topics {
    pub fn new(client: &ClientSettings) -> Result<Self, Error> {
        let client = client.config().create().map_err(|it| Error::client(&it))?;
        Ok(Self { client: Arc::new(client) })
    }

    /// Makes the topic unless it is there. True when it was made.
    pub async fn ensure(&self, topic: &NewTopicSettings) -> Result<bool, Error> {
        let doing = || format!("creating topic {}", topic.name);
        let mut new =
            NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication));
        for (key, value) in &topic.config {
            new = new.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let answers =
            self.client.create_topics([&new], &options).await.map_err(|it| Error::request(doing(), &it))?;
        match answers.into_iter().next() {
            None | Some(Ok(_)) => Ok(true),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => Err(Error::request(doing(), &rdkafka::error::KafkaError::AdminOp(code))),
        }
    }

    /// Gives a topic more partitions, so many in all.
    pub async fn widen(&self, topic: &str, partitions: i32) -> Result<(), Error> {
        let doing = || format!("giving topic {topic} {partitions} partitions");
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let wanted = NewPartitions::new(topic, usize::try_from(partitions).unwrap_or(1));
        let answers = self.client.create_partitions([&wanted], &options).await;
        match answers.map_err(|it| Error::request(doing(), &it))?.into_iter().next() {
            None | Some(Ok(_)) => Ok(()),
            Some(Err((_, code))) => Err(Error::request(doing(), &rdkafka::error::KafkaError::AdminOp(code))),
        }
    }

    /// Deletes those that are there; the cluster clears their data away later. How many there were.
    pub async fn delete(&self, topics: &[&str]) -> Result<usize, Error> {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let answers = self.client.delete_topics(topics, &options).await;
        let mut deleted = 0;
        for answer in answers.map_err(|it| Error::request("deleting topics", &it))? {
            match answer {
                Ok(_) => deleted += 1,
                Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {}
                Err((topic, code)) => {
                    let error = rdkafka::error::KafkaError::AdminOp(code);
                    return Err(Error::request(format!("deleting topic {topic}"), &error));
                }
            }
        }
        Ok(deleted)
    }

    /// Deletes what lies before these offsets, for each partition; Kafka deletes nowhere else. The first offset that
    /// is held afterwards, or why not.
    pub async fn delete_before(
        &self,
        topic: &str,
        offsets: &[(i32, i64)],
    ) -> Result<Vec<(i32, Result<i64, String>)>, Error> {
        let failed = |it: KafkaError| Error::request(format!("deleting from topic {topic}"), &it);
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).map_err(failed)?;
        }
        let wait = Some(Duration::from_secs(30));
        let options = AdminOptions::new().operation_timeout(wait).request_timeout(wait);
        let done = self.client.delete_records(&list, &options).await.map_err(failed)?;
        let first = |it: &TopicPartitionListElem<'_>| match (it.error(), it.offset()) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(()), Offset::Offset(offset)) => Ok(offset),
            (Ok(()), other) => Err(format!("the cluster answers {other:?}")),
        };
        Ok(done.elements().iter().map(|it| (it.partition(), first(it))).collect())
    }

    /// The names of all topics that begin so. Blocks.
    pub fn named(&self, beginning: &str, wait: Duration) -> Result<Vec<String>, Error> {
        let known = self.client.inner().fetch_metadata(None, wait);
        let known = known.map_err(|it| Error::request("asking for the topics", &it))?;
        let names = known.topics().iter().map(|it| it.name().to_owned());
        Ok(names.filter(|it| it.starts_with(beginning)).collect())
    }

    /// How many partitions the topic has; 0 when there is no such topic. Blocks.
    pub fn partitions(&self, topic: &str, wait: Duration) -> Result<i32, Error> {
        partitions_of(self.client.inner(), topic, wait)
    }

    /// The first offset held and the next one to come, of each partition. Blocks.
    pub fn ends(&self, topic: &str, wait: Duration) -> Result<Vec<(i64, i64)>, Error> {
        (0..self.partitions(topic, wait)?)
            .map(|partition| {
                self.client
                    .inner()
                    .fetch_watermarks(topic, partition, wait)
                    .map_err(|it| Error::request(format!("asking for the ends of {topic}[{partition}]"), &it))
            })
            .collect()
    }

    /// Whether the cluster answers. Blocks.
    pub fn reach(&self, wait: Duration) -> Result<usize, Error> {
        let metadata = self
            .client
            .inner()
            .fetch_metadata(None, wait)
            .map_err(|it| Error::request("reaching the cluster", &it))?;
        Ok(metadata.brokers().len())
    }
}

pub(super) fn partitions_of<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    wait: Duration,
) -> Result<i32, Error> {
    let metadata = client
        .fetch_metadata(Some(topic), wait)
        .map_err(|it| Error::request(format!("looking at topic {topic}"), &it))?;
    let found = metadata.topics().iter().find(|it| it.name() == topic);
    Ok(found.map_or(0, |it| it.partitions().len() as i32))
}
