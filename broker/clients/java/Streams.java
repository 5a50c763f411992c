// Counts words with Kafka Streams, exactly once, while its instances come, go and lose their state: transactions,
// changelog and repartition topics, standby replicas. Usage: java -cp 'libs/*' Streams.java HOST:PORT

import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.*;

public class Streams {
    static final String RUN = Long.toString(System.nanoTime(), 36), IN = "in-" + RUN, OUT = "out-" + RUN, APP = "app-" + RUN;
    static final String[] WORDS = {"ab", "cd", "ef", "gh", "ij", "kl", "mn"};
    static final int LINES = 8000, PARTITIONS = 3;
    static final Duration CLOSE = Duration.ofSeconds(30);
    static String broker;

    static KafkaStreams start(Path directory) {
        var builder = new StreamsBuilder();
        builder.<String, String>stream(IN)
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.as("words"))
            .count(Materialized.as("counts"))
            .toStream().mapValues(String::valueOf).to(OUT);
        var settings = new Properties();
        settings.putAll(Map.of("application.id", APP, "bootstrap.servers", broker, "processing.guarantee", "exactly_once_v2",
            "commit.interval.ms", 100, "state.dir", directory.toString(), "num.stream.threads", 2, "num.standby.replicas", 1,
            "default.key.serde", Serdes.StringSerde.class, "default.value.serde", Serdes.StringSerde.class));
        settings.put("consumer.session.timeout.ms", 6000);
        var streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(failure -> {
            failure.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.start();
        return streams;
    }

    static Path directory() throws Exception {
        return Files.createTempDirectory("streams");
    }

    /** Whether every word's committed counts go up to what they should be, one after the other. */
    static void compare(Map<String, Long> want) {
        Map<String, Long> got = new TreeMap<>();
        Map<String, Object> settings = Map.of("bootstrap.servers", broker, "isolation.level", "read_committed",
            "key.deserializer", StringDeserializer.class, "value.deserializer", StringDeserializer.class);
        try (var consumer = new KafkaConsumer<String, String>(settings)) {
            var partitions = new ArrayList<TopicPartition>();
            for (int i = 0; i < PARTITIONS; i++) partitions.add(new TopicPartition(OUT, i));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.currentTimeMillis() + 90_000;
            while (!got.equals(want)) {
                if (System.currentTimeMillis() > deadline) throw new AssertionError("got " + got + ", want " + want);
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    Long before = got.put(record.key(), Long.parseLong(record.value()));
                    if (before != null && before >= got.get(record.key())) throw new AssertionError(record + " after " + before);
                }
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        broker = arguments[0];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            admin.createTopics(List.of(new NewTopic(IN, PARTITIONS, (short) 1), new NewTopic(OUT, PARTITIONS, (short) 1))).all().get();
        }
        Map<String, Long> want = new TreeMap<>();
        Path kept = directory();
        KafkaStreams first = start(directory()), second = null;
        Map<String, Object> settings =
            Map.of("bootstrap.servers", broker, "key.serializer", StringSerializer.class, "value.serializer", StringSerializer.class);
        try (var producer = new KafkaProducer<String, String>(settings)) {
            var random = new Random(7);
            for (int i = 0; i < LINES; i++) {
                String line = WORDS[random.nextInt(7)] + " " + WORDS[random.nextInt(7)] + random.nextInt(5);
                for (String word : line.split(" ")) want.merge(word, 1L, Long::sum);
                producer.send(new ProducerRecord<>(IN, "k" + i % 20, line));
                if (i % 100 == 0) Thread.sleep(20);
                if (i == LINES / 4) second = start(kept);
                if (i == LINES / 2) {
                    first.close(CLOSE);
                    first = start(directory()); // its state comes from the changelog
                }
                if (i == LINES * 3 / 4) {
                    second.close(CLOSE);
                    second = start(kept);
                }
            }
        }
        compare(want);
        first.close(CLOSE);
        second.close(CLOSE);
        System.out.println("ok streams: exactly once, over restarts and lost state");
        System.exit(0);
    }
}
