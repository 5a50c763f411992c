import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.vertx.VertxParallelEoSStreamProcessor;
import io.vertx.core.buffer.Buffer;
import io.vertx.ext.web.client.predicate.ResponsePredicate;
import java.net.URI;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Posts the value of each record to a URL, one after the other for each key: what drover does, by Parallel Consumer.
 * It is told by its environment what to do, as `drover bench --peer` tells it, and runs until it is ended.
 */
public class Peer {
    public static void main(String[] arguments) {
        // Before the first logger is made.
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        Map<String, Object> settings = Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, wanted("BROKERS"),
            ConsumerConfig.GROUP_ID_CONFIG, wanted("GROUP"),
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
            // Parallel Consumer commits by itself and asks for this.
            ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var options = ParallelConsumerOptions.<byte[], byte[]>builder()
            .consumer(consumer)
            .ordering(ProcessingOrder.valueOf(either("ORDER", "KEY")))
            .maxConcurrency(Integer.parseInt(either("IN_FLIGHT", "128")))
            .commitMode(CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
            .build();
        URI url = URI.create(wanted("URL"));
        // With a web client of its own, whose connections are as many as may be under way.
        var processor = new VertxParallelEoSStreamProcessor<byte[], byte[]>(options);
        processor.subscribe(List.of(wanted("TOPIC")), new Ready());
        processor.vertxHttpWebClient(
            (client, context) -> client.post(url.getPort(), url.getHost(), url.getPath())
                .expect(ResponsePredicate.SC_SUCCESS)
                .sendBuffer(Buffer.buffer(context.value())),
            sent -> {});
    }

    static class Ready implements ConsumerRebalanceListener {
        private boolean said;

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            if (!said) System.out.println("ready");
            said = true;
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}
    }

    static String wanted(String name) {
        String value = System.getenv(name);
        if (value == null || value.isEmpty()) {
            System.err.println("set " + name + ": see README.md");
            System.exit(2);
        }
        return value;
    }

    static String either(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }
}
