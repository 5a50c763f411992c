//! Topics: their names, their partitions, their birth and death.
use crate::error::{Answer, Refusal};
use crate::log::{Log, Place};
use crate::segment::parse_file_name;
use crate::settings::{Overrides, Settings};
use crate::state::{Change, State, now_ms};
use kafka_protocol::ResponseError;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

const NAME_MAX: usize = 249;
/// One small broker; a typing error should not cost a hundred thousand files.
pub(crate) const PARTITIONS_MAX: i32 = 10_000;

pub(crate) struct Topic {
    pub id: Uuid,
    pub overrides: Overrides,
    pub settings: Settings,
    pub partitions: Vec<Log>,
}

impl Topic {
    pub fn open(
        id: Uuid,
        partitions: i32,
        overrides: Overrides,
        settings: Settings,
        place: &Place,
    ) -> io::Result<Topic> {
        let mut files: HashMap<i32, Vec<(i64, PathBuf)>> = HashMap::new();
        if let Some(directory) = &place.directory {
            std::fs::create_dir_all(directory)?;
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                if let Some((partition, base_offset)) = entry.file_name().to_str().and_then(parse_file_name) {
                    files.entry(partition).or_default().push((base_offset, entry.path()));
                }
            }
        }
        let now = now_ms();
        let partitions = (0..partitions)
            .map(|partition| Log::open(place, partition, files.remove(&partition).unwrap_or_default(), now))
            .collect::<io::Result<Vec<Log>>>()?;
        Ok(Topic { id, overrides, settings, partitions })
    }

    pub fn as_change(&self, name: &str) -> Change {
        Change::Topic {
            name: name.to_string(),
            id: self.id,
            partitions: self.partitions.len() as i32,
            settings: self.overrides.clone(),
        }
    }
}

/// Partitions of all topics together: each costs some hundred bytes, and a client may ask for topics without end.
const ALL_PARTITIONS_MAX: usize = 200_000;

/// A topic that is wanted.
pub(crate) struct Wanted {
    pub partitions: i32,
    pub overrides: Overrides,
    pub validate_only: bool,
}

pub(crate) fn check_name(name: &str) -> Answer<()> {
    let refuse = |why: &str| {
        Err(Refusal::new(ResponseError::InvalidTopicException, format!("Topic name is invalid: {why}")))
    };
    if name.is_empty() {
        return refuse("the empty string is not allowed");
    }
    if name == "." || name == ".." {
        return refuse("'.' or '..' is not allowed");
    }
    if name.len() > NAME_MAX {
        return refuse("the length of it is longer than the max allowed length 249");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return refuse("it contains a character other than ASCII alphanumerics, '.', '_' and '-'");
    }
    Ok(())
}

impl State {
    pub fn create_topic(&mut self, name: &str, wanted: Wanted) -> Answer<Uuid> {
        check_name(name)?;
        if self.topics.contains_key(name) {
            return Err(Refusal::new(
                ResponseError::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        self.check_collision(name)?;
        if wanted.partitions < 1 {
            return Err(Refusal::new(
                ResponseError::InvalidPartitions,
                "Number of partitions must be larger than 0.",
            ));
        }
        if wanted.partitions > PARTITIONS_MAX {
            return Err(Refusal::new(
                ResponseError::InvalidPartitions,
                format!("This broker has at most {PARTITIONS_MAX} partitions in a topic."),
            ));
        }
        let settings = Settings::new(&wanted.overrides)?;
        self.check_room(wanted.partitions)?;
        let id = Uuid::new_v4();
        if wanted.validate_only {
            return Ok(id);
        }
        let topic = Topic::open(id, wanted.partitions, wanted.overrides, settings, &self.place(id))?;
        self.record(&topic.as_change(name))?;
        self.partitions += topic.partitions.len();
        self.topics.insert(name.to_string(), topic);
        tracing::debug!(topic = name, partitions = wanted.partitions, "topic created");
        Ok(id)
    }

    fn check_room(&self, coming: i32) -> Answer<()> {
        if self.partitions + coming as usize <= ALL_PARTITIONS_MAX {
            return Ok(());
        }
        let why = format!("This broker has at most {ALL_PARTITIONS_MAX} partitions.");
        Err(Refusal::new(ResponseError::PolicyViolation, why))
    }

    /// In metric names '.' becomes '_', so Kafka allows no two topics that differ in that only.
    fn check_collision(&self, name: &str) -> Answer<()> {
        if !name.contains(['.', '_']) {
            return Ok(());
        }
        let plain = name.replace('.', "_");
        match self.topics.keys().find(|other| other.replace('.', "_") == plain) {
            None => Ok(()),
            Some(other) => Err(Refusal::new(
                ResponseError::InvalidTopicException,
                format!("Topic '{name}' collides with existing topic: {other}"),
            )),
        }
    }

    pub fn delete_topic(&mut self, name: &str) -> Answer<Uuid> {
        let Some(topic) = self.topics.get(name) else {
            return Err(ResponseError::UnknownTopicOrPartition.into());
        };
        let (id, partitions) = (topic.id, topic.partitions.len());
        self.record(&Change::TopicDeleted { name: name.to_string() })?;
        self.topics.remove(name);
        self.partitions -= partitions;
        self.offsets.forget_topic(name);
        for transaction in self.transactions.values_mut() {
            transaction.partitions.retain(|(topic, _)| topic != name);
        }
        if let Some(directory) = self.place(id).directory
            && let Err(failure) = std::fs::remove_dir_all(&directory)
        {
            tracing::warn!(directory = %directory.display(), %failure, "a deleted topic's files stay");
        }
        Ok(id)
    }

    pub fn grow_topic(&mut self, name: &str, partitions: i32, validate_only: bool) -> Answer<()> {
        let Some(topic) = self.topics.get(name) else {
            return Err(Refusal::new(
                ResponseError::UnknownTopicOrPartition,
                format!("The topic '{name}' does not exist."),
            ));
        };
        let (now, id) = (topic.partitions.len() as i32, topic.id);
        let refuse = |why: String| Err(Refusal::new(ResponseError::InvalidPartitions, why));
        if partitions == now {
            return refuse(format!("Topic already has {now} partition(s)."));
        }
        if partitions < now {
            return refuse(format!(
                "The topic {name} currently has {now} partition(s); {partitions} would not be an increase."
            ));
        }
        if partitions > PARTITIONS_MAX {
            return refuse(format!("This broker has at most {PARTITIONS_MAX} partitions in a topic."));
        }
        let overrides = topic.overrides.clone();
        self.check_room(partitions - now)?;
        if validate_only {
            return Ok(());
        }
        self.record(&Change::Topic { name: name.to_string(), id, partitions, settings: overrides })?;
        self.partitions += (partitions - now) as usize;
        let place = self.place(id);
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partitions.extend((now..partitions).map(|partition| Log::new(&place, partition)));
        }
        Ok(())
    }

    /// Replaces what was set on a topic.
    pub fn configure_topic(&mut self, name: &str, overrides: Overrides, validate_only: bool) -> Answer<()> {
        let settings = Settings::new(&overrides)?;
        let Some(topic) = self.topics.get(name) else {
            return Err(ResponseError::UnknownTopicOrPartition.into());
        };
        if validate_only {
            return Ok(());
        }
        let change = Change::Topic {
            name: name.to_string(),
            id: topic.id,
            partitions: topic.partitions.len() as i32,
            settings: overrides.clone(),
        };
        self.record(&change)?;
        if let Some(topic) = self.topics.get_mut(name) {
            topic.overrides = overrides;
            topic.settings = settings;
        }
        Ok(())
    }
}
