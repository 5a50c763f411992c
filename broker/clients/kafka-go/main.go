// Checks the broker with segmentio's kafka-go: every codec, a group of three, its client's admin calls.
// Usage: kafka-go HOST:PORT. A line for each check; the first that fails ends it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

var (
	broker = os.Args[1]
	run    = fmt.Sprint(time.Now().UnixNano())
	client = &kafka.Client{Addr: kafka.TCP(broker), Timeout: 10 * time.Second}
	ctx, _ = context.WithTimeout(context.Background(), 90*time.Second)
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func same[T comparable](what string, got, want T) {
	if got != want {
		panic(fmt.Sprintf("%s: got %v, want %v", what, got, want))
	}
}

func topic(name string, partitions int) string {
	name += "-" + run
	wanted := []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}}
	check(must(client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: wanted})).Errors[name])
	return name
}

func codecs() {
	for _, codec := range []compress.Compression{0, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		name := topic(fmt.Sprint("kafka-go-codec-", int(codec)), 1)
		writer := &kafka.Writer{Addr: kafka.TCP(broker), Topic: name, Compression: codec, BatchTimeout: 10 * time.Millisecond, RequiredAcks: kafka.RequireAll}
		var messages []kafka.Message
		for range 50 {
			messages = append(messages, kafka.Message{Value: []byte(strings.Repeat("v", 100)), Headers: []kafka.Header{{Key: "h"}}})
		}
		check(writer.WriteMessages(ctx, messages...))
		check(writer.Close())
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Topic: name, MaxWait: 200 * time.Millisecond})
		for range messages {
			same("headers", len(must(reader.ReadMessage(ctx)).Headers), 1)
		}
		check(reader.Close())
	}
}

func group() {
	name := topic("kafka-go-group", 6)
	var mutex sync.Mutex
	var members sync.WaitGroup
	seen := map[string]bool{}
	reading, stop := context.WithCancel(ctx)
	for range 3 {
		members.Go(func() {
			reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, GroupID: name, Topic: name, MaxWait: 100 * time.Millisecond, StartOffset: kafka.FirstOffset})
			defer reader.Close()
			for {
				message, err := reader.ReadMessage(reading)
				if err != nil {
					return
				}
				mutex.Lock()
				if seen[string(message.Value)] = true; len(seen) == 300 {
					stop()
				}
				mutex.Unlock()
			}
		})
	}
	writer := &kafka.Writer{Addr: kafka.TCP(broker), Topic: name, BatchTimeout: time.Millisecond}
	for i := range 300 {
		check(writer.WriteMessages(ctx, kafka.Message{Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}))
	}
	members.Wait()
	same("records seen", len(seen), 300)
	check(writer.Close())
}

// calls are those of its low-level client: its Fetch names session -1, which is none.
func calls() {
	name := topic("kafka-go-calls", 2)
	same("partitions", len(must(client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{name}})).Topics[0].Partitions), 2)
	record := kafka.Record{Value: kafka.NewBytes([]byte("x")), Time: time.UnixMilli(5000)}
	check(must(client.Produce(ctx, &kafka.ProduceRequest{Topic: name, Partition: 1, RequiredAcks: -1, Records: kafka.NewRecordReader(record)})).Error)
	fetched := must(client.Fetch(ctx, &kafka.FetchRequest{Topic: name, Partition: 1, MinBytes: 1, MaxBytes: 1e6, MaxWait: time.Second}))
	check(fetched.Error)
	same("value", string(must(io.ReadAll(must(fetched.Records.ReadRecord()).Value))), "x")
	commit := map[string][]kafka.OffsetCommit{name: {{Partition: 0, Offset: 3, Metadata: "m"}}}
	check(must(client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: name, GenerationID: -1, Topics: commit})).Topics[name][0].Error)
	got := must(client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: name, Topics: map[string][]int{name: {0}}})).Topics[name][0]
	same("commit", fmt.Sprint(got.CommittedOffset, got.Metadata), "3m")
	more := []kafka.TopicPartitionsConfig{{Name: name, Count: 3}}
	check(must(client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: more})).Errors[name])
	check(must(client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{name}})).Errors[name])
	check(must(client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name}})).Errors[name])
}

func main() {
	codecs()
	fmt.Println("ok kafka-go: every codec")
	group()
	fmt.Println("ok kafka-go: a group of three")
	calls()
	fmt.Println("ok kafka-go: fetch, commit, grow, delete")
}
