// The native floor: fetch, join, PUT. It checks no record and gives no guarantee.
//
// It does not decode the messages, and it commits what it has fetched before the PUT has ended. So it is the least that
// a compiled program with these two clients needs.
package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/twmb/franz-go/pkg/kgo"
)

const inFlight = 16 // PUTs at once, as our consumer has

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	ctx, env := context.Background(), os.Getenv
	size, bucket, topic := must(strconv.Atoi(env("SIZE"))), env("BUCKET"), env("TOPIC")
	store := s3.New(s3.Options{
		BaseEndpoint: aws.String(env("S3")), Region: "us-east-1", UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"), ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired, // no CRC beside the signed SHA-256
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(transport *http.Transport) {
			transport.MaxIdleConnsPerHost = inFlight
		}),
	})
	kafka := must(kgo.NewClient(
		kgo.SeedBrokers(env("BOOTSTRAP")), kgo.ConsumerGroup(env("GROUP")), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(time.Second),
	))
	slots := make(chan struct{}, inFlight)
	batches := map[int32][]*kgo.Record{}
	put := func(batch []*kgo.Record) {
		body := []byte{'['}
		for _, record := range batch {
			body = append(append(body, record.Value...), ',')
		}
		body[len(body)-1] = ']'
		key := fmt.Sprintf("native/%s-%d-%020d.json", topic, batch[0].Partition, batch[0].Offset)
		must(store.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}))
		<-slots
	}
	for {
		fetches := kafka.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) { panic(err) })
		fetches.EachRecord(func(record *kgo.Record) {
			batch := append(batches[record.Partition], record)
			if len(batch) == size {
				slots <- struct{}{}
				go put(batch)
				batch = nil
			}
			batches[record.Partition] = batch
		})
	}
}
