package objects

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// message is one of the queue.
type message struct {
	body     string
	receipt  *string
	received int       // how often, this time included
	sent     time.Time // zero: it is not told
}

func read(m *types.Message) *message {
	out := &message{body: aws.ToString(m.Body), receipt: m.ReceiptHandle, received: 1, sent: time.Now()}
	if n, err := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)]); err == nil {
		out.received = n
	}
	if ms, err := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		out.sent = time.UnixMilli(ms)
	}
	return out
}

// object is one that a message tells of.
type object struct {
	Bucket  string
	Key     string
	Version string // "": the bucket keeps none
}

// String names the object in errors.
func (o object) String() string { return "s3://" + o.Bucket + "/" + o.Key }

// notification is S3's, or SNS's around it. Sources:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
type notification struct {
	Type    string // "Notification": SNS's
	Message string // of SNS: S3's

	Event   string // "s3:TestEvent": sent when notifications are set up
	Records *[]struct {
		EventName string `json:"eventName"`
		S3        struct {
			Bucket struct {
				Name string `json:"name"`
			} `json:"bucket"`
			Object struct {
				Key     string `json:"key"`
				Version string `json:"versionId"`
			} `json:"object"`
		} `json:"s3"`
	}
}

// parse gives the objects that a message tells of: none is an answer too.
func parse(body string) ([]object, error) {
	var n notification
	err := json.Unmarshal([]byte(body), &n)
	if err == nil && n.Type == "Notification" {
		inner := n.Message
		n = notification{}
		err = json.Unmarshal([]byte(inner), &n)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the message is no notification of S3's: %w", err)
	case n.Event == "s3:TestEvent":
		return nil, nil
	case n.Records == nil:
		return nil, errors.New("the message is no notification of S3's: it has no Records")
	}
	var list []object
	for i := range *n.Records {
		record := &(*n.Records)[i]
		if !strings.HasPrefix(record.EventName, "ObjectCreated:") {
			continue
		}
		// Keys come as in a form: + for a blank, and %XX.
		key, err := url.QueryUnescape(record.S3.Object.Key)
		if err != nil || key == "" || record.S3.Bucket.Name == "" {
			return nil, fmt.Errorf("the message tells of an object whose name cannot be read: bucket %q, key %q", record.S3.Bucket.Name, record.S3.Object.Key)
		}
		if isLog(key) {
			list = append(list, object{record.S3.Bucket.Name, key, record.S3.Object.Version})
		}
	}
	return list, nil
}

// isLog tells keys of access logs from those of other things that load balancers
// and people put beside them.
func isLog(key string) bool {
	if strings.HasSuffix(key, "/") {
		return false // a directory, as the console makes them
	}
	name := path.Base(key)
	for _, other := range []string{"ELBAccessLogTestFile", "ELBConnectionLogTestFile", "conn_log", "health_check_log"} {
		if strings.HasPrefix(name, other) {
			return false
		}
	}
	return true
}
