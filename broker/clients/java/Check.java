// Checks the broker with Apache Kafka's own Java client. Usage: java -cp 'libs/*' Check.java HOST:PORT
// Prints a line for each check, and ends with 1 at the first that fails.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

public class Check {
    static String broker;
    static Admin admin;
    static final String RUN = Long.toString(System.nanoTime(), 36);
    static final Duration TICK = Duration.ofMillis(50);
    static final long PATIENCE_MS = 40_000;

    interface Step { void run() throws Exception; }

    static void same(String what, Object got, Object want) {
        if (!Objects.equals(got, want)) throw new AssertionError(what + ": got " + got + ", want " + want);
    }

    static void await(String what, BooleanSupplier ready) {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!ready.getAsBoolean())
            if (System.currentTimeMillis() > deadline) throw new AssertionError("not in time: " + what);
    }

    static Throwable refusal(Future<?> of) throws Exception {
        try {
            of.get();
            return null;
        } catch (ExecutionException refused) {
            return refused.getCause();
        }
    }

    static String topic(String name, int partitions, Map<String, String> settings) throws Exception {
        String topic = name + "-" + RUN;
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(settings))).all().get();
        return topic;
    }

    static KafkaProducer<String, String> producer(Object... settings) {
        Map<String, Object> all = settings(settings);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(Object... settings) {
        Map<String, Object> all = settings(settings);
        all.putIfAbsent("auto.offset.reset", "earliest");
        all.putIfAbsent("enable.auto.commit", false);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    static Map<String, Object> settings(Object... pairs) {
        Map<String, Object> all = new HashMap<>(Map.of("bootstrap.servers", broker));
        for (int i = 0; i < pairs.length; i += 2) all.put((String) pairs[i], pairs[i + 1]);
        return all;
    }

    static List<String> read(String topic, int count, Object... more) {
        List<String> values = new ArrayList<>();
        try (var consumer = consumer(more)) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            consumer.seekToBeginning(consumer.assignment());
            await(count + " records", () -> {
                consumer.poll(TICK).forEach(record -> values.add(record.value()));
                return values.size() >= count;
            });
        }
        return values;
    }

    static void everyCodec() throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String topic = topic("java-" + codec, 1, Map.of());
            try (var producer = producer("compression.type", codec, "linger.ms", 5)) {
                for (int i = 0; i < 100; i++) producer.send(new ProducerRecord<>(topic, "k", "a value that packs well " + i));
            }
            same("the last of " + codec, read(topic, 100).get(99), "a value that packs well 99");
        }
    }

    static void transactions() throws Exception {
        String topic = topic("java-txn", 1, Map.of());
        String source = topic("java-txn-source", 1, Map.of());
        TopicPartition partition = new TopicPartition(source, 0);
        String id = "java-" + RUN;
        var first = producer("transactional.id", id);
        first.initTransactions();
        first.beginTransaction();
        first.send(new ProducerRecord<>(topic, "aborted")).get();
        first.abortTransaction();
        first.beginTransaction();
        first.send(new ProducerRecord<>(topic, "committed")).get();
        first.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(5, "note")), new ConsumerGroupMetadata(id));
        first.commitTransaction();
        var offsets = admin.listConsumerGroupOffsets(id).partitionsToOffsetAndMetadata().get();
        same("the offset in the transaction", offsets.get(partition), new OffsetAndMetadata(5, "note"));
        try (var second = producer("transactional.id", id)) {
            second.initTransactions();
            first.beginTransaction();
            Throwable fenced = refusal(first.send(new ProducerRecord<>(topic, "of a zombie")));
            if (!(fenced instanceof ProducerFencedException) && !(fenced instanceof InvalidProducerEpochException))
                throw new AssertionError("the first producer is not fenced: " + fenced);
            second.beginTransaction();
            second.send(new ProducerRecord<>(topic, "of the second"));
            second.commitTransaction();
        }
        first.close(Duration.ZERO);
        same("committed", read(topic, 2, "isolation.level", "read_committed"), List.of("committed", "of the second"));
        same("all", read(topic, 3).size(), 3);
        same("state", admin.describeTransactions(List.of(id)).all().get().get(id).state(), TransactionState.COMPLETE_COMMIT);
    }

    /** One member of a group, on a thread of its own. */
    static class Worker extends Thread {
        final String topic;
        final String strategy;
        final Map<String, Integer> seen;
        volatile int owned;
        volatile boolean stop;

        Worker(String topic, String strategy, Map<String, Integer> seen) {
            this.topic = topic;
            this.strategy = strategy;
            this.seen = seen;
            start();
        }

        @Override public void run() {
            try (var consumer = consumer("group.id", topic, "partition.assignment.strategy", strategy, "heartbeat.interval.ms", 100)) {
                consumer.subscribe(List.of(topic));
                while (!stop) {
                    consumer.poll(TICK).forEach(record -> seen.merge(record.value(), 1, Integer::sum));
                    try {
                        consumer.commitSync();
                    } catch (RebalanceInProgressException soon) {
                        // what is read meanwhile is committed with the next round
                    }
                    owned = consumer.assignment().size();
                }
            }
        }
    }

    static void groups() throws Exception {
        for (var strategy : List.of(CooperativeStickyAssignor.class, RangeAssignor.class)) {
            String topic = topic("java-" + strategy.getSimpleName(), 4, Map.of());
            Map<String, Integer> seen = new ConcurrentHashMap<>();
            Worker first = new Worker(topic, strategy.getName(), seen);
            await("one owns all", () -> first.owned == 4);
            Worker second = new Worker(topic, strategy.getName(), seen);
            await("two share", () -> first.owned == 2 && second.owned == 2);
            try (var producer = producer()) {
                for (int i = 0; i < 200; i++) producer.send(new ProducerRecord<>(topic, "" + i, "" + i));
            }
            await("all is seen", () -> seen.size() == 200);
            var described = admin.describeConsumerGroups(List.of(topic)).all().get().get(topic);
            same("members", described.members().size(), 2);
            same("state", described.groupState(), GroupState.STABLE);
            if (!(refusal(admin.deleteConsumerGroups(List.of(topic)).all()) instanceof GroupNotEmptyException))
                throw new AssertionError("a group with members was deleted");
            second.stop = true;
            second.join();
            await("one owns all again", () -> first.owned == 4);
            first.stop = true;
            first.join();
            admin.deleteConsumerGroups(List.of(topic)).all().get();
        }
    }

    static void staticMember() throws Exception {
        String topic = topic("java-static", 1, Map.of());
        int generation = -1;
        for (int round = 0; round < 2; round++) {
            try (var consumer = consumer("group.id", topic, "group.instance.id", "one")) {
                consumer.subscribe(List.of(topic));
                await("assigned", () -> {
                    consumer.poll(TICK);
                    return consumer.assignment().size() == 1;
                });
                int now = consumer.groupMetadata().generationId();
                if (round == 1) same("the generation of a static member that came back", now, generation);
                generation = now;
            }
        }
    }

    static void commits() throws Exception {
        String topic = topic("java-commit", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (var consumer = consumer("group.id", topic)) {
            consumer.assign(List.of(partition));
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(3, "a note")));
            same("committed", consumer.committed(Set.of(partition)).get(partition).metadata(), "a note");
            try {
                consumer.commitSync(Map.of(partition, new OffsetAndMetadata(3, "x".repeat(4097))));
                throw new AssertionError("metadata without end was taken");
            } catch (OffsetMetadataTooLarge expected) {
                // as it should be
            }
        }
    }

    static void administration() throws Exception {
        String topic = topic("java-admin", 1, Map.of("retention.ms", "3600000"));
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
        same("partitions", admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), 3);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        var set = new AlterConfigOp(new ConfigEntry("retention.ms", "7200000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
        same("retention.ms", admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value(), "7200000");
        var bad = admin.createTopics(List.of(new NewTopic(topic + "-b", 1, (short) 1).configs(Map.of("retention.ms", "soon"))));
        if (!(refusal(bad.all()) instanceof InvalidConfigurationException)) throw new AssertionError("a bad setting was taken");
        bad = admin.createTopics(List.of(new NewTopic(topic + "-b", 1, (short) 3)));
        if (!(refusal(bad.all()) instanceof InvalidReplicationFactorException)) throw new AssertionError("three replicas were promised");
        var described = admin.describeTopics(List.of(topic), new DescribeTopicsOptions().includeAuthorizedOperations(true));
        var known = described.allTopicNames().get().get(topic);
        same("operations", known.authorizedOperations().size(), 8);
        var byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(known.topicId()))).allTopicIds().get();
        same("by its id", byId.get(known.topicId()).name(), topic);
        same("nodes", admin.describeCluster().nodes().get().size(), 1);
        admin.describeLogDirs(List.of(1)).allDescriptions().get();
        if (!(refusal(admin.describeAcls(org.apache.kafka.common.acl.AclBindingFilter.ANY).values()) instanceof SecurityDisabledException))
            throw new AssertionError("there are no ACLs");
        admin.deleteTopics(List.of(topic)).all().get();
        same("deleted", admin.listTopics().names().get().contains(topic), false);
    }

    static void offsetsByTime() throws Exception {
        String topic = topic("java-time", 1, Map.of());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (var producer = producer(); var consumer = consumer()) {
            for (long at : List.of(1000L, 3000L, 2000L)) producer.send(new ProducerRecord<>(topic, 0, at, null, "v")).get();
            same("at 2000", consumer.offsetsForTimes(Map.of(partition, 2000L)).get(partition).offset(), 1L);
            same("after all", consumer.offsetsForTimes(Map.of(partition, 3001L)).get(partition), null);
            var latest = admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get();
            same("latest", latest.offset(), 1L);
        }
    }

    static void compaction() throws Exception {
        String topic = topic("java-compact", 1, Map.of("cleanup.policy", "compact", "segment.ms", "50",
            "min.cleanable.dirty.ratio", "0.01", "delete.retention.ms", "50"));
        try (var producer = producer()) {
            for (int i = 0; i < 100; i++) producer.send(new ProducerRecord<>(topic, "key-" + i % 5, "" + i)).get();
            producer.send(new ProducerRecord<>(topic, "key-0", null)).get();
            await("compacted", () -> {
                try {
                    // the last record is never compacted away: it shows the reader where to stop
                    long end = producer.send(new ProducerRecord<>(topic, "end", "end")).get().offset();
                    Map<String, List<String>> kept = new TreeMap<>();
                    try (var consumer = consumer()) {
                        consumer.assign(List.of(new TopicPartition(topic, 0)));
                        while (consumer.position(new TopicPartition(topic, 0)) <= end)
                            for (var record : consumer.poll(TICK))
                                kept.computeIfAbsent(record.key(), key -> new ArrayList<>()).add(record.value());
                    }
                    kept.remove("end");
                    return kept.toString().equals("{key-1=[96], key-2=[97], key-3=[98], key-4=[99]}");
                } catch (Exception failure) {
                    throw new AssertionError(failure);
                }
            });
        }
    }

    static void refusals() throws Exception {
        String topic = topic("java-refuse", 1, Map.of("max.message.bytes", "1000"));
        try (var producer = producer()) {
            Throwable tooLarge = refusal(producer.send(new ProducerRecord<>(topic, "x".repeat(5000))));
            if (!(tooLarge instanceof RecordTooLargeException)) throw new AssertionError("too large: " + tooLarge);
            producer.send(new ProducerRecord<>(topic, "small")).get();
        }
        try (var consumer = consumer("auto.offset.reset", "none")) {
            consumer.assign(List.of(new TopicPartition(topic, 0)));
            consumer.seek(new TopicPartition(topic, 0), 100);
            try {
                for (long until = System.currentTimeMillis() + PATIENCE_MS; System.currentTimeMillis() < until;) consumer.poll(TICK);
                throw new AssertionError("an offset out of range was read");
            } catch (org.apache.kafka.clients.consumer.OffsetOutOfRangeException expected) {
                // as it should be
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        broker = arguments[0];
        Map<String, Step> steps = new LinkedHashMap<>();
        steps.put("every codec, idempotent", Check::everyCodec);
        steps.put("transactions: commit, abort, offsets, fencing", Check::transactions);
        steps.put("groups of two, cooperative and eager", Check::groups);
        steps.put("a static member", Check::staticMember);
        steps.put("commits with metadata", Check::commits);
        steps.put("admin: create, grow, alter, refuse, delete", Check::administration);
        steps.put("offsets by time", Check::offsetsByTime);
        steps.put("compaction", Check::compaction);
        steps.put("too large, out of range", Check::refusals);
        try (Admin open = Admin.create(settings())) {
            admin = open;
            for (var step : steps.entrySet()) {
                step.getValue().run();
                System.out.println("ok java: " + step.getKey());
            }
        } catch (Throwable failure) {
            System.out.println("FAILED java: " + failure);
            failure.printStackTrace();
            System.exit(1);
        }
    }
}
